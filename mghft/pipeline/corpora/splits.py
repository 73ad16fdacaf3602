"""Splits as files of their own: made with a seed, shared, read back, and those that others published.

Ours is a CSV `id,split` below comment lines that say how it was made. Read are also a CSV, JSON or text
file of ids per split (their names say which), in a folder or by a pattern, and one JSON of lists by split.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from mghft.pipeline.corpora.adapters import open_adapter
from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.split_files import SplitRow, read_split_rows
from mghft.pipeline.corpora.sticker import SPLITS, Corpus, Sticker, count_splits
from mghft.pipeline.files import check_target, write_text
from mghft.pipeline.text import first_and_more, plural


@dataclass(frozen=True)
class Ratio:
    """Shares of train, validation and test; any positive numbers, at least two of them not 0."""

    shares: tuple[float, float, float]

    @classmethod
    def parse(cls, text: str) -> Ratio:
        """Read `6:2:2`.

        Raises:
            ValueError: the text is no such ratio.
        """
        try:
            shares = tuple(map(float, text.split(":")))
        except ValueError:
            shares = ()
        valid = len(shares) == 3 and all(0 <= share <= 1e9 for share in shares)
        if not valid or sum(share > 0 for share in shares) < 2:
            raise ValueError(f"--ratio must be train:validation:test as in 6:2:2, not {text!r}")
        return cls((shares[0], shares[1], shares[2]))

    def __str__(self) -> str:
        return ":".join(f"{share:g}" for share in self.shares)


def make_split(
    stickers: Sequence[Sticker], ratio: Ratio, seed: int, *, keep: Iterable[str] = ()
) -> dict[str, str]:
    """Return a seeded split, stratified by subset (of MET-Meme the language) and label.

    It depends on ids, subsets, labels and seed alone, not on the order of the corpus. Of every subset, the
    shares are met to one sticker, and of every label in it to one.

    Args:
        stickers: of the corpus.
        ratio: of train, validation and test.
        seed: of the shuffle.
        keep: splits that stay as they are; the other stickers are divided.

    Returns:
        Split by id, in the order of the corpus.
    """
    kept = set(keep)
    split = {sticker.id: sticker.split for sticker in stickers}
    by_subset: dict[str, dict[int, list[str]]] = {}
    for sticker in stickers:
        if sticker.split not in kept:
            label = -1 if sticker.label is None else sticker.label
            by_subset.setdefault(sticker.subset or "", {}).setdefault(label, []).append(sticker.id)
    borders = np.cumsum(ratio.shares)[:-1] / sum(ratio.shares)
    for subset, by_label in by_subset.items():
        before = 0
        for label, unordered in sorted(by_label.items()):
            ids = sorted(unordered)
            # A stream of its own for each class: one more sticker elsewhere moves nothing here.
            key = int.from_bytes(hashlib.sha256(f"{subset}\n{label}".encode()).digest()[:8])
            order = np.random.default_rng([seed, key]).permutation(len(ids))
            # Rounded along the whole subset, so that the remainders of its classes do not add up.
            ends = [round(border * (before + len(ids))) - round(border * before) for border in borders]
            for place, index in enumerate(order):
                split[ids[index]] = SPLITS[sum(place >= end for end in ends)]
            before += len(ids)
    return split


def write_split(
    path: Path, corpus: Corpus, split: Mapping[str, str], *, how: str, force: bool = False
) -> list[str]:
    """Write a split as CSV below comment lines that say how it was made.

    Args:
        path: the file.
        corpus: whose split it is.
        split: split by id.
        how: how it was made, for the first comment line.
        force: replace an existing file.

    Returns:
        The comment lines.

    Raises:
        ValueError: the file already exists and `force` is not set.
    """
    check_target(path, force)
    digest = hashlib.sha256("\n".join(sorted(split)).encode("utf-8", "replace")).hexdigest()
    lines = [
        f"# splits of the corpus {corpus.card.name}: {how}",
        f"# {count_splits(Counter(split.values()))}; {len(split)} ids, "
        f"sha256 of the sorted ids {digest[:16]}",
    ]
    text = io.StringIO(newline="")
    text.write("".join(f"{line}\n" for line in lines))
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "split"])
    rows.writerows(split.items())
    write_text(path, text.getvalue())
    return lines


def apply_split_file(listing: Listing, root: Path) -> None:
    """Give the stickers of a listing the splits of its card's split file, if the card has one.

    Stickers that the file does not name are left out, as its maker did. The card's counts are those of
    its own splits, so they no longer hold.

    Raises:
        FileNotFoundError: the file that was asked for does not exist.
        ValueError: it cannot be read, gives an id two splits, or is of another corpus.
    """
    card = listing.card
    if card.splits_from is not None:
        source = card.splits_from
    elif card.split_file is not None and (root / card.split_file).is_file():
        source = str(root / card.split_file)
    else:
        return
    rows = read_split_rows(source)
    split, unknown = _assign(rows, _IdLookup(listing.stickers, card.adapter), source)
    if not split or len(unknown) > len(split):
        raise ValueError(
            f"{len(unknown)} of {len(rows)} ids in {source} are not in the corpus {card.name}, "
            f"the first is {unknown[0]!r}: are these the splits of another corpus?"
        )
    if unknown:
        listing.notes.append(
            f"this copy lacks {plural(unknown, 'id')} of {source}: {first_and_more(unknown)}"
        )
    absent = [sticker.id for sticker in listing.stickers if sticker.id not in split]
    if absent:
        listing.notes.append(
            f"{source} does not name {plural(absent, 'sticker')}, left out: {first_and_more(absent)}"
        )
    listing.stickers = [
        replace(sticker, split=split[sticker.id]) for sticker in listing.stickers if sticker.id in split
    ]
    listing.notes.append(f"the splits are those of {source}: {count_splits(Counter(split.values()))}")
    listing.card = card.model_copy(update={"counts": {}, "label_counts": {}})


class _IdLookup:
    """The ids of a corpus by the names that other people's files give its stickers."""

    def __init__(self, stickers: Sequence[Sticker], adapter: str) -> None:
        self._ids = {sticker.id for sticker in stickers}
        self._by_name: dict[str, str | None] = {}
        for sticker in stickers:
            for name in _spellings(sticker):
                # Of a name that two stickers answer to, neither is meant for sure.
                is_new = self._by_name.get(name, sticker.id) == sticker.id
                self._by_name[name] = sticker.id if is_new else None
        self._possible_ids = getattr(open_adapter(adapter), "possible_ids", None)

    def find(self, name: str, file: str) -> str | None:
        """Return the id that a name in a file of this name means, None where that is not certain."""
        if name in self._ids:
            return name
        if self._possible_ids is not None:
            ids = [candidate for candidate in self._possible_ids(name, file) if candidate in self._ids]
            if ids:
                return ids[0] if len(ids) == 1 else None
        return self._by_name.get(_plain(name))


def _assign(rows: Sequence[SplitRow], lookup: _IdLookup, source: str) -> tuple[dict[str, str], list[str]]:
    """Return the split by sticker id, and the names that belong to no sticker."""
    split: dict[str, str] = {}
    unknown = []
    by_file: dict[str, list[SplitRow]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row)
    for file, rows_of_file in by_file.items():
        column = _id_column(rows_of_file, lookup)
        for row in rows_of_file:
            name = row.names[min(column, len(row.names) - 1)]
            sticker_id = lookup.find(name, file)
            if sticker_id is None:
                unknown.append(name)
            elif split.setdefault(sticker_id, row.split) != row.split:
                raise ValueError(
                    f"{source} puts {sticker_id!r} into {split[sticker_id]} and into {row.split}: "
                    "give the files of one split alone, by a pattern such as 'folder/avg_*_label_E.csv'"
                )
    return split, unknown


def _id_column(rows: Sequence[SplitRow], lookup: _IdLookup) -> int:
    """Return which of a row's names is the id: the one that most stickers answer to.

    A column of bare numbers (a row's number, a label) may look like one, so names go first.
    """
    scores = []
    for column in range(max(len(row.names) for row in rows)):
        names = [row.names[column] for row in rows if column < len(row.names)]
        hits = len({lookup.find(name, rows[0].file) for name in names} - {None})
        numbers = all(name.strip().isdecimal() for name in names)
        scores.append((0 if numbers else hits, hits, -column))
    return -max(scores)[2]


def _spellings(sticker: Sticker) -> set[str]:
    paths = {_plain(sticker.id), _plain(sticker.path)}
    names = paths | {PurePosixPath(path).name for path in paths}
    return names | {name.rpartition(".")[0] or name for name in names}


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./").casefold()
