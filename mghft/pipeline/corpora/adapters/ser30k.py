"""SER30K: `Images/<topic>/<file_name>` and one JSON per split, in either of the two published layouts.

Which number is which emotion is written nowhere: the card's order is taken unless the files themselves have a
`categories` block, and the counts of the test split tell whether it fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.paths import FileLookup, path_fault
from mghft.pipeline.corpora.adapters.ser30k_labels import (
    AnnotationFile,
    label_order,
    read_annotations,
    read_number,
)
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Sticker, normal_split
from mghft.pipeline.text import clean_text, first_and_more, plural, printable

_VOTES = ("anno1", "anno2", "anno3")


class _Row(NamedTuple):
    """The fields of an annotation that name its image and its label."""

    topic: str
    file_name: str
    number: int


def read(card: Card, root: Path) -> Listing:
    """List a copy of SER30K; stickers with a bad path or without an image are left out.

    Raises:
        FileNotFoundError: the JSON of train or test is missing (the released code never reads that of val).
        ValueError: a JSON has another shape, or a row lacks its fields.
    """
    listing = Listing(card)
    base = _find_base(root)
    prefix = "" if base == root else f"{base.relative_to(root).as_posix()}/"
    files = _read_splits(listing, base)
    order = label_order(listing, base, list(files.values()))
    lookup = FileLookup(root)
    times: Counter[str] = Counter()
    for split, file in files.items():
        for number, annotation in enumerate(file.annotations):
            row = _parse(annotation, f"{file.path}, row {number}", len(order))
            sticker_id = printable(f"{row.topic}/{row.file_name}")
            times[sticker_id] += 1
            image = f"{prefix}Images/{row.topic}/{row.file_name}"
            path, fault = lookup.find(image)
            # Either of them alone may lead out of its folder, and still not out of the root.
            if unsafe := path_fault(row.topic) or path_fault(row.file_name):
                path, fault = None, unsafe
            if path is None:
                listing.skip(image, fault)
                continue
            if times[sticker_id] > 1:
                sticker_id += f"#{times[sticker_id]}"
            label = order[row.number - 1]
            listing.stickers.append(
                Sticker(
                    id=sticker_id,
                    path=path,
                    split=normal_split(split),
                    label=label,
                    label_name=card.labels[label],
                    text=clean_text(annotation.get("text")),
                    topic=printable(row.topic),
                    votes=_votes(annotation, order),
                )
            )
    listing.note_links(lookup.leaving)
    _report_oddities(listing, lookup, times)
    _compare_test_counts(listing, files["test"], order)
    return listing


def _find_base(root: Path) -> Path:
    """Return the folder that holds `Annotations`: the root, or a folder in it (the archive's own)."""
    if (root / "Annotations").is_dir():
        return root
    inner = sorted(path.parent for path in root.glob("*/Annotations") if path.is_dir())
    return inner[0] if inner else root


def _read_splits(listing: Listing, base: Path) -> dict[str, AnnotationFile]:
    files = {}
    for split in ("train", "val", "test"):
        places = [base / "Annotations" / folder / f"{split}.json" for folder in ("image-level", "")]
        path = next((place for place in places if place.is_file()), None)
        if path is not None:
            files[split] = read_annotations(path)
        elif split == "val":
            listing.notes.append(
                "there is no val.json, so no validation split: 'mghft data split' can make one"
            )
        else:
            raise FileNotFoundError(
                f"the corpus {listing.card.name} needs {places[0]} or {places[1]}, and neither exists"
            )
    return files


def _parse(annotation: Any, where: str, labels: int) -> _Row:
    try:
        row = _Row(str(annotation["topic"]), str(annotation["file_name"]), read_number(annotation["anno"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: malformed field {error}") from None
    if not 1 <= row.number <= labels:
        raise ValueError(f"{where}: anno is {row.number}, expected 1 to {labels}")
    return row


def _votes(annotation: dict[str, Any], order: Sequence[int]) -> tuple[int | None, ...]:
    votes: list[int | None] = []
    for name in _VOTES:
        try:
            number = read_number(annotation.get(name))
        except (TypeError, ValueError, OverflowError):
            number = 0
        votes.append(order[number - 1] if 1 <= number <= len(order) else None)
    return () if all(vote is None for vote in votes) else tuple(votes)


def _report_oddities(listing: Listing, lookup: FileLookup, times: Counter[str]) -> None:
    duplicated = [name for name, count in times.items() if count > 1]
    if duplicated:
        listing.problems.append(
            f"{plural(duplicated, 'image')} listed more than once; each later row is a sticker of its own, "
            f"with #2 behind its id: {first_and_more(duplicated)}"
        )
    if lookup.renamed:
        listing.notes.append(lookup.renamed_note())
    without = sum(not sticker.votes for sticker in listing.stickers)
    if 0 < without < len(listing.stickers):
        listing.notes.append(
            f"{plural(without, 'sticker')} without a usable label of a single annotator (anno1 to anno3)"
        )
    elif without:
        listing.notes.append("the files hold no labels of single annotators (anno1 to anno3)")


def _compare_test_counts(listing: Listing, test: AnnotationFile, order: Sequence[int]) -> None:
    """Report which order of labels fits if the test split has the known counts under other numbers."""
    card = listing.card
    known = card.label_counts.get("test")
    if not known or len(set(known.values())) < len(known):
        return
    counts = Counter(read_number(annotation["anno"]) for annotation in test.annotations)
    label_by_count = {count: name for name, count in known.items()}
    fitting = [label_by_count.get(counts[number]) for number in range(1, len(card.labels) + 1)]
    current = [card.labels[label] for label in order]
    if None not in fitting and fitting != current:
        listing.problems.append(
            f"by the counts of the test split the numbers from 1 mean {', '.join(map(str, fitting))}, "
            f"but are read as {', '.join(current)}: use a copy of the card with 'labels' in that order"
        )
