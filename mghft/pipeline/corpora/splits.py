"""Splits as files of their own: made with a seed, shared, read back, and those that others published.

Ours is a CSV `id,split` below comment lines that say how it was made. Read are also a CSV, JSON or text
file of ids per split (their names say which), in a folder or by a pattern, and one JSON of lists by split.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path, PurePosixPath

import numpy as np

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.split_files import Given, read_given
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.files import write_text

NAMES = ("train", "validation", "test")
LookUp = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Ratio:
    """Shares of train, validation and test; any positive numbers, at least two of them not 0."""

    shares: tuple[float, float, float]

    @classmethod
    def parse(cls, text: str) -> Ratio:
        """Reads `6:2:2`.

        Raises:
            ValueError: it is no such ratio.
        """
        try:
            shares = tuple(float(part) for part in text.split(":"))
        except ValueError:
            shares = ()
        fine = len(shares) == 3 and all(0 <= share <= 1e9 for share in shares)
        if not fine or sum(share > 0 for share in shares) < 2:
            raise ValueError(f"--ratio must be train:validation:test as in 6:2:2, not {text!r}")
        return cls((shares[0], shares[1], shares[2]))

    def __str__(self) -> str:
        return ":".join(f"{share:g}" for share in self.shares)


def make_split(
    stickers: Sequence[Sticker], ratio: Ratio, seed: int, *, keep: Iterable[str] = ()
) -> dict[str, str]:
    """A seeded split, stratified by part (of MET-Meme the language) and label.

    It depends on ids, parts, labels and seed alone, not on the order of the corpus. Of every part, the shares
    are met to one sticker, and of every label in it to one.

    Args:
        stickers: of the corpus.
        ratio: of train, validation and test.
        seed: of the shuffle.
        keep: splits that stay as they are; the other stickers are divided.

    Returns:
        Split by id, in the order of the corpus.
    """
    kept = {sticker.id: sticker.split for sticker in stickers if sticker.split in set(keep)}
    chosen: dict[str, str] = {}
    parts: dict[str, dict[int, list[str]]] = {}
    for sticker in stickers:
        if sticker.id not in kept:
            label = -1 if sticker.label is None else sticker.label
            parts.setdefault(sticker.part or "", {}).setdefault(label, []).append(sticker.id)
    borders = np.cumsum(ratio.shares)[:-1] / sum(ratio.shares)
    for part in sorted(parts):
        before = 0
        for label in sorted(parts[part]):
            ids = sorted(parts[part][label])
            # A stream of its own for each class: one more sticker elsewhere moves nothing here.
            key = int.from_bytes(hashlib.sha256(f"{part}\n{label}".encode()).digest()[:8])
            order = np.random.default_rng([seed, key]).permutation(len(ids))
            # Rounded along the whole part, so that the remainders of its classes do not add up.
            ends = [round(border * (before + len(ids))) - round(border * before) for border in borders]
            for place, index in enumerate(order):
                chosen[ids[index]] = NAMES[sum(place >= end for end in ends)]
            before += len(ids)
    return {sticker.id: kept.get(sticker.id) or chosen[sticker.id] for sticker in stickers}


def write_split(
    path: Path, corpus: Corpus, split: dict[str, str], *, how: str, force: bool = False
) -> list[str]:
    """Writes a split as CSV, its making in comment lines on top; whole or not at all.

    Returns:
        The comment lines.

    Raises:
        ValueError: the file already exists (and no `force`).
    """
    if path.exists() and not force:
        raise ValueError(f"the file {path} already exists: give another with --out, or --force")
    counts = Counter(split.values())
    digest = hashlib.sha256("\n".join(sorted(split)).encode("utf-8", "replace")).hexdigest()
    lines = [
        f"# splits of the corpus {corpus.card.name}: {how}",
        f"# {', '.join(f'{name} {counts[name]}' for name in sorted(counts, key=_order))}; "
        f"{len(split)} ids, sha256 of the sorted ids {digest[:16]}",
    ]
    text = io.StringIO(newline="")
    text.write("".join(f"{line}\n" for line in lines))
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "split"])
    rows.writerows(split.items())
    write_text(path, text.getvalue())
    return lines


def apply_split_file(found: Listing, root: Path) -> None:
    """Gives the stickers of a listing the splits of its card's split file, where there is one.

    Stickers that the file does not name are left out, as its maker did. The card's counts are those of
    its own splits, so they no longer hold.

    Raises:
        FileNotFoundError: the file that was asked for does not exist.
        ValueError: it cannot be read, gives an id two splits, or is of another corpus.
    """
    card = found.card
    if card.splits_from is not None:
        source = card.splits_from
    elif card.split_file is not None and (root / card.split_file).is_file():
        source = str(root / card.split_file)
    else:
        return
    given = read_given(source)
    look_up = _resolver(found.stickers, card.adapter)
    split, unknown = _assign(given, look_up, source)
    if not split or len(unknown) > len(split):
        raise ValueError(
            f"{len(unknown)} of {len(given)} ids in {source} are not in the corpus {card.name}, "
            f"the first is {unknown[0]!r}: are these the splits of another corpus?"
        )
    if unknown:
        found.notes.append(f"{len(unknown)} ids in {source} are not in this copy: {first(unknown)}")
    left = [sticker.id for sticker in found.stickers if sticker.id not in split]
    if left:
        found.notes.append(f"{len(left)} stickers are not in {source} and left out: {first(left)}")
    found.stickers = [
        changed(sticker, split=split[sticker.id]) for sticker in found.stickers if sticker.id in split
    ]
    counts = Counter(split.values())
    said = ", ".join(f"{name} {counts[name]}" for name in sorted(counts, key=_order))
    found.notes.append(f"the splits are those of {source}: {said}")
    found.card = card.model_copy(update={"counts": {}, "label_counts": {}})


def _assign(given: Sequence[Given], look_up: LookUp, source: str) -> tuple[dict[str, str], list[str]]:
    """Split by sticker id, and the names that belong to none."""
    split: dict[str, str] = {}
    unknown = []
    by_file: dict[str, list[Given]] = {}
    for one in given:
        by_file.setdefault(one.file, []).append(one)
    for file, rows in by_file.items():
        column = _column_of_ids(rows, look_up)
        for row in rows:
            said = row.names[min(column, len(row.names) - 1)]
            name = look_up(said, file)
            if name is None:
                unknown.append(said)
            elif split.setdefault(name, row.split) != row.split:
                raise ValueError(
                    f"{source} puts {name!r} into {split[name]} and into {row.split}: "
                    "give the files of one split alone, by a pattern such as 'folder/avg_*_label_E.csv'"
                )
    return split, unknown


def _column_of_ids(rows: Sequence[Given], look_up: LookUp) -> int:
    """Which of a row's names is the id: the one that most stickers answer to.

    A column of bare numbers (a row's number, a label) may look like one, so names go first.
    """
    scores = []
    for column in range(max(len(row.names) for row in rows)):
        said = [row.names[column] for row in rows if column < len(row.names)]
        hits = len({look_up(name, rows[0].file) for name in said} - {None})
        bare = all(name.strip().isdecimal() for name in said)
        scores.append((hits if not bare else 0, hits, -column))
    return -max(scores)[2]


def _resolver(stickers: Sequence[Sticker], adapter: str) -> LookUp:
    """A function from a name in somebody's file, and that file's name, to our id, or None."""
    ids = {sticker.id for sticker in stickers}
    by_name: dict[str, str | None] = {}
    for sticker in stickers:
        for name in _spellings(sticker):
            # Of a name that two stickers answer to, neither is meant for sure.
            by_name[name] = sticker.id if by_name.get(name, sticker.id) == sticker.id else None
    module = importlib.import_module(f"mghft.pipeline.corpora.adapters.{adapter}")
    own: Callable[[str, str], list[str]] = getattr(module, "possible_ids", lambda name, file: [])

    def look_up(name: str, file: str) -> str | None:
        if name in ids:
            return name
        if found := [one for one in own(name, file) if one in ids]:
            return found[0] if len(found) == 1 else None
        return by_name.get(_plain(name))

    return look_up


def _spellings(sticker: Sticker) -> set[str]:
    paths = {_plain(sticker.id), _plain(sticker.path)}
    names = paths | {PurePosixPath(path).name for path in paths}
    return names | {name.rpartition(".")[0] or name for name in names}


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./").casefold()


def _order(name: str) -> tuple[int, str]:
    return (NAMES.index(name) if name in NAMES else len(NAMES), name)
