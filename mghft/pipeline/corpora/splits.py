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
from pathlib import Path

import numpy as np

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.split_files import read_split_rows
from mghft.pipeline.corpora.split_groups import keep_together, stratum_of
from mghft.pipeline.corpora.split_ids import IdLookup, assign_splits, drop_other_variants
from mghft.pipeline.corpora.sticker import SPLITS, Corpus, Sticker, count_splits, split_order
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
    stickers: Sequence[Sticker],
    ratio: Ratio,
    seed: int,
    *,
    keep: Iterable[str] = (),
    together: Iterable[Sequence[str]] = (),
) -> dict[str, str]:
    """Return a seeded split, stratified by subset (of MET-Meme the language) and label.

    It depends on ids, subsets, labels and seed alone, not on the order of the corpus. Of every subset, the
    shares are met to one sticker, and of every label in it to one.

    Args:
        stickers: of the corpus.
        ratio: of train, validation and test.
        seed: of the shuffle.
        keep: splits that stay as they are; the other stickers are divided.
        together: ids of stickers that must not be torn apart (`keep_together`); where nothing is, the split
            is the same with and without.

    Returns:
        Split by id, in the order of the corpus.

    Raises:
        ValueError: what must stay together leaves a split without a sticker.
    """
    kept = set(keep)
    split = {sticker.id: sticker.split for sticker in stickers}
    by_subset: dict[str, dict[int, list[str]]] = {}
    for sticker in stickers:
        if sticker.split not in kept:
            subset, label = stratum_of(sticker)
            by_subset.setdefault(subset, {}).setdefault(label, []).append(sticker.id)
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
    movable = {sticker.id: split[sticker.id] for sticker in stickers if sticker.split not in kept}
    grouped = keep_together(movable, stickers, together, ratio.shares, seed)
    if lost := sorted(set(movable.values()) - set(grouped.values()), key=split_order):
        raise ValueError(
            f"with equal pictures kept together no sticker is left for {' and '.join(lost)}: "
            "see them with 'mghft data duplicates', or split with --ignore-duplicates"
        )
    return split | grouped


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
    split, unknown = assign_splits(rows, IdLookup(listing.stickers, card.adapter), source)
    strange = drop_other_variants(card, root, unknown) if unknown else []
    if not split and not strange:
        raise ValueError(
            f"{source} names no sticker of the corpus {card.name}, but {plural(unknown, 'sticker')} of other "
            "variants of its card: give another file as CARD@FILE, or make splits of the whole corpus with "
            f"'mghft data split {card.source.stem} --force'"
        )
    left_out = {name for name, _ in listing.skipped}
    if not split or sum(one.name not in left_out for one in strange) > len(split):
        raise ValueError(
            f"{len(strange)} of {len(rows)} ids in {source} are not in the corpus {card.name}, "
            f"the first is {strange[0].name!r}: are these the splits of another corpus?"
        )
    if strange:
        names = first_and_more(one.name for one in strange)
        listing.notes.append(f"this copy lacks {plural(strange, 'id')} of {source}: {names}")
    absent = [sticker for sticker in listing.stickers if sticker.id not in split]
    if absent:
        named = first_and_more(sticker.id for sticker in absent)
        lost = _lost_subsets(listing.stickers, split)
        listing.notes.append(f"{source} does not name {plural(absent, 'sticker')}, left out: {named}{lost}")
    listing.stickers = [
        replace(sticker, split=split[sticker.id]) for sticker in listing.stickers if sticker.id in split
    ]
    listing.notes.append(f"the splits are those of {source}: {count_splits(Counter(split.values()))}")
    listing.card = card.model_copy(update={"counts": {}, "label_counts": {}})


def _lost_subsets(stickers: Sequence[Sticker], split: Mapping[str, str]) -> str:
    """Return a clause on the subsets of which no sticker has a split, nothing where there is none."""
    present = {sticker.subset for sticker in stickers if sticker.id in split}
    lost = sorted({sticker.subset for sticker in stickers if sticker.subset is not None} - present)
    return f"; the whole subset {' and '.join(lost)} is among them" if lost else ""
