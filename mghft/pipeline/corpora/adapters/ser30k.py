"""SER30K: `Images/<topic>/<file_name>` and one JSON per split, in either of the two published layouts.

Which number is which emotion is written nowhere: the card's order is taken unless the files themselves have a
`categories` block, and the counts of the test split tell whether it fits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.adapters.paths import Present, unsafe
from mghft.pipeline.corpora.adapters.ser30k_labels import Tops, categories, read_json, read_number
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLIT_NAMES, Sticker
from mghft.pipeline.text import clean_text, printable

_VOTES = ("anno1", "anno2", "anno3")


def read(card: Card, root: Path) -> Listing:
    """Lists a copy of SER30K; stickers with a bad path or without an image are left out.

    Raises:
        FileNotFoundError: the JSON of train or test is missing (the released code never reads that of val).
        ValueError: a JSON has another shape, or a row lacks its fields.
    """
    found = Listing(card)
    base = _base(root)
    prefix = "" if base == root else f"{base.relative_to(root).as_posix()}/"
    tops: Tops = {}
    for split in ("train", "val", "test"):
        if (one := _read_split(found, base, split)) is not None:
            tops[split] = one
    order = categories(found, base, tops)
    present = Present(root)
    times: Counter[str] = Counter()
    for split, (file, top) in tops.items():
        for number, row in enumerate(top["annotations"]):
            sticker = _sticker(card, row, f"{file}, row {number}", SPLIT_NAMES.get(split, split), order)
            path, reason = present.find(f"{prefix}{sticker.path}")
            if why := unsafe(str(row["topic"])) or unsafe(str(row["file_name"])):
                path, reason = None, why
            times[sticker.id] += 1
            if path is None:
                found.skip(f"{prefix}{sticker.path}", reason)
                continue
            again = f"#{times[sticker.id]}" if times[sticker.id] > 1 else ""
            found.stickers.append(_changed(sticker, f"{sticker.id}{again}", path))
    _say_what_is_odd(found, present, times)
    _compare_test_counts(found, card, tops, order)
    return found


def _base(root: Path) -> Path:
    """The folder that holds `Annotations`: the root, or a folder in it (the archive's own)."""
    if (root / "Annotations").is_dir():
        return root
    inner = sorted(path.parent for path in root.glob("*/Annotations") if path.is_dir())
    return inner[0] if inner else root


def _read_split(found: Listing, base: Path, split: str) -> tuple[Path, dict[str, Any]] | None:
    places = [
        base / "Annotations" / "image-level" / f"{split}.json",
        base / "Annotations" / f"{split}.json",
    ]
    file = next((place for place in places if place.is_file()), None)
    if file is None and split == "val":
        found.notes.append("there is no val.json, so no validation split: 'mghft data split' can make one")
        return None
    if file is None:
        raise FileNotFoundError(
            f"the corpus {found.card.name} needs {places[0]} or {places[1]}, and neither exists"
        )
    return file, read_json(file)


def _sticker(card: Card, row: Any, where: str, split: str, order: list[int]) -> Sticker:
    try:
        topic, name, number = str(row["topic"]), str(row["file_name"]), read_number(row["anno"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: malformed field {error}") from None
    if not 1 <= number <= len(card.labels):
        raise ValueError(f"{where}: anno is {number}, expected 1 to {len(card.labels)}")
    label = order[number - 1]
    return Sticker(
        id=printable(f"{topic}/{name}"),
        path=f"Images/{topic}/{name}",
        split=split,
        label=label,
        label_name=card.labels[label],
        text=clean_text(row.get("text")),
        topic=printable(topic),
        votes=_votes(row, order),
    )


def _votes(row: dict[str, Any], order: list[int]) -> tuple[int | None, ...]:
    votes: list[int | None] = []
    for name in _VOTES:
        try:
            number = read_number(row.get(name))
        except (TypeError, ValueError, OverflowError):
            number = 0
        votes.append(order[number - 1] if 1 <= number <= len(order) else None)
    return () if all(vote is None for vote in votes) else tuple(votes)


def _changed(sticker: Sticker, name: str, path: str) -> Sticker:
    # dataclasses.replace takes three times as long, which 30,000 stickers feel.
    return Sticker(
        name,
        path,
        sticker.split,
        sticker.label,
        sticker.label_name,
        sticker.text,
        None,
        sticker.topic,
        sticker.votes,
    )


def _say_what_is_odd(found: Listing, present: Present, times: Counter[str]) -> None:
    again = [name for name, count in times.items() if count > 1]
    if again:
        found.problems.append(
            f"{len(again)} images are listed more than once; each later row is a sticker of its own, "
            f"with #2 behind its id: {first(again)}"
        )
    if present.renamed:
        pairs = (f"{printable(old)} is {printable(new)}" for old, new in present.renamed)
        found.notes.append(
            f"{len(present.renamed)} images have another case or suffix on disk: {first(pairs)}"
        )
    without = sum(not sticker.votes for sticker in found.stickers)
    if 0 < without < len(found.stickers):
        found.notes.append(f"{without} stickers have no usable label of a single annotator (anno1 to anno3)")
    elif without:
        found.notes.append("the files hold no labels of single annotators (anno1 to anno3)")


def _compare_test_counts(found: Listing, card: Card, tops: Tops, order: list[int]) -> None:
    """Says which order of labels fits where the test split has the known counts under other numbers."""
    wanted = card.label_counts.get("test")
    if not wanted or len(set(wanted.values())) < len(wanted):
        return
    here = Counter(read_number(row["anno"]) for row in tops["test"][1]["annotations"])
    counts = [here[number] for number in range(1, len(card.labels) + 1)]
    by_count = {count: name for name, count in wanted.items()}
    fits = [by_count.get(count) for count in counts]
    now = [card.labels[label] for label in order]
    if None not in fits and fits != now:
        found.problems.append(
            f"by the counts of the test split the numbers from 1 mean {', '.join(map(str, fits))}, "
            f"but are read as {', '.join(now)}: use a copy of the card with 'labels' in that order"
        )
