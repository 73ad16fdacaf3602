"""Finds exact and near duplicates in a corpus: what leaks between splits, which labels contradict others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.audit.hashes import SIDE, Prints, take_prints
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.images.parallel import Progress

# Measured in docs/data_quality.md. The hash alone at the usual 8 to 10 bits misses re-encoded flat art and
# takes different faces for one; so it is generous, and the thumbnails are strict.
HASH_BITS = 16
NEAR = 15.0
# More pairs than that are no finding about single stickers, and would fill the memory.
MAX_PAIRS = 200_000
_BLOCK_ROWS = 128
_CHUNK = 4096
# Of a pair in two splits, the sticker of the later one here stays: figures on test stay comparable.
_RANK = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Pair:
    """Two stickers that show the same.

    Attributes:
        kind: "bytes", "pixels", "near" or "mirrored".
        bits: of 64, how many of their perceptual hashes differ.
        difference: largest mean difference of colour in any 1/64 of the picture, 0 to 255.
    """

    kind: str
    first: Sticker
    second: Sticker
    bits: int = 0
    difference: float = 0.0

    @property
    def across(self) -> bool:
        """In two splits."""
        return self.first.split != self.second.split

    @property
    def torn(self) -> bool:
        """Under two labels."""
        return self.first.label != self.second.label

    def badness(self) -> tuple[Any, ...]:
        """Sorts the worst pairs first: leaks into the test split, other leaks, two labels, then likeness."""
        splits = {self.first.split, self.second.split}
        kinds = ("bytes", "pixels", "near", "mirrored")
        order = (self.difference, kinds.index(self.kind), self.first.id, self.second.id)
        return (not (self.across and "test" in splits), not self.across, not self.torn, *order)


@dataclass
class Duplicates:
    """What was found.

    Attributes:
        pairs: worst first; in a group of k equal pictures k - 1 pairs, so that every sticker of it is named.
        leaks: id of a sticker in train or validation: (id in a later split, kind).
        topics: figures on topics in train and test, empty where the corpus has none.
        errors: (id, reason) of images that could not be compared.
        cut: whether there were more near pairs than are kept.
    """

    corpus: Corpus
    pairs: list[Pair]
    leaks: dict[str, tuple[str, str]]
    topics: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    cut: bool = False

    def counts(self) -> dict[str, dict[str, int]]:
        """Pairs by kind: in all, across splits, under two labels."""
        return {
            kind: {
                "pairs": sum(pair.kind == kind for pair in self.pairs),
                "across_splits": sum(pair.kind == kind and pair.across for pair in self.pairs),
                "two_labels": sum(pair.kind == kind and pair.torn for pair in self.pairs),
            }
            for kind in ("bytes", "pixels", "near", "mirrored")
        }


def find_duplicates(
    corpus: Corpus,
    *,
    near: float = NEAR,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Duplicates:
    """Compares every image of a corpus with every other.

    Args:
        corpus: the stickers.
        near: largest difference of near duplicates (`Pair.difference`); 0 looks for exact ones alone.
        workers: processes that decode; None takes one per core.
        progress: called with (images decoded, images in all).
    """
    stickers = corpus.stickers
    prints = take_prints(
        corpus.root, [sticker.path for sticker in stickers], workers=workers, progress=progress
    )
    # Equal pictures form groups; one picture of each stands for it in the search for near ones.
    by_pixels: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(prints.pixels):
        by_pixels[digest].append(row)
    groups = list(by_pixels.values())
    members = [[stickers[int(prints.numbers[row])] for row in group] for group in groups]
    pairs: list[Pair] = []
    for rows, group in zip(groups, members, strict=True):
        pairs += _equal_pairs(rows, group, prints)
    links: list[tuple[int, int, str]] = []
    cut = False
    if near > 0:
        chosen = np.array([group[0] for group in groups], dtype=np.int64)
        for a, b, bits, difference, kind in near_pairs(prints, chosen, near):
            if len(links) == MAX_PAIRS:
                cut = True
                break
            links.append((a, b, kind))
            pairs.append(Pair(kind, *_telling(members[a], members[b]), bits, difference))
    return Duplicates(
        corpus,
        sorted(pairs, key=Pair.badness),
        _leaks(members, links),
        _topics(stickers),
        [(stickers[number].id, reason) for number, reason in prints.errors],
        cut,
    )


def near_pairs(
    prints: Prints, rows: NDArray[np.int64], near: float
) -> Iterator[tuple[int, int, int, float, str]]:
    """Near duplicates among the chosen rows: (a, b, bits, difference, kind), a < b counting in `rows`.

    Every pair of hashes is compared, a block of rows at a time by XOR and popcount: 30,000 images are 450
    million pairs. Proposed pairs then pass a bound from 8 x 8 means that is exact, and last the thumbnails.
    """
    hashes, mirrored = prints.hashes[rows], prints.mirrored[rows]
    thumbs = prints.thumbs[rows]
    # In parts: as floats all thumbnails at once would take four times their memory.
    cells = np.empty((len(thumbs), 2, 8, 8, 3), np.float32)
    for at in range(0, len(thumbs), _CHUNK):
        cells[at : at + _CHUNK] = _cells(thumbs[at : at + _CHUNK].astype(np.float32))
    for start in range(0, len(rows), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(rows))
        upright = _proposed(hashes[start:stop], hashes[start:], start)
        turned = _proposed(hashes[start:stop], mirrored[start:], start)
        seen: set[tuple[int, int]] = set()
        for kind, (a, b, bits) in (("near", upright), ("mirrored", turned)):
            for at in range(0, len(a), _CHUNK):
                some = slice(at, at + _CHUNK)
                for i, j, bit, far in _confirmed(
                    thumbs, cells, a[some], b[some], bits[some], near, mirror=kind == "mirrored"
                ):
                    # A symmetric picture is its own mirror image: once is enough.
                    if (i, j) not in seen:
                        seen.add((i, j))
                        yield i, j, bit, far, kind


def _proposed(
    some: NDArray[np.uint64], others: NDArray[np.uint64], start: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs within HASH_BITS, of the whole pictures or of the trimmed ones; `others` begin with `some`."""
    bits = np.bitwise_count(some[:, None, 0] ^ others[None, :, 0])
    np.minimum(bits, np.bitwise_count(some[:, None, 1] ^ others[None, :, 1]), out=bits)
    a, b = np.nonzero(bits <= HASH_BITS)
    later = b > a
    a, b = a[later], b[later]
    return a + start, b + start, bits[a, b].astype(np.int64)


def _confirmed(
    thumbs: NDArray[np.uint8],
    cells: NDArray[np.float32],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    bits: NDArray[np.int64],
    near: float,
    *,
    mirror: bool,
) -> Iterator[tuple[int, int, int, float]]:
    """The pairs whose thumbnails, whole or trimmed, differ by at most `near`."""
    other = cells[b][:, :, :, ::-1] if mirror else cells[b]
    # |mean of differences| <= mean of |differences|: nothing is lost here.
    bound = np.abs(cells[a] - other).mean(-1).max((2, 3)).min(1)
    kept = np.flatnonzero(bound <= near)
    a, b, bits = a[kept], b[kept], bits[kept]
    other_thumbs = thumbs[b][:, :, :, ::-1] if mirror else thumbs[b]
    far = np.abs(thumbs[a].astype(np.float32) - other_thumbs)
    difference = _cells(far).mean(-1).max((2, 3)).min(1)
    for i in np.flatnonzero(difference <= near):
        yield int(a[i]), int(b[i]), int(bits[i]), round(float(difference[i]), 2)


def _cells(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 8 x 8 cells: [n, 2, 32, 32, 3] to [n, 2, 8, 8, 3]."""
    cell = SIDE // 8
    means: NDArray[np.float32] = thumbs.reshape(len(thumbs), 2, 8, cell, 8, cell, 3).mean((3, 5))
    return means


def _equal_pairs(rows: Sequence[int], group: Sequence[Sticker], prints: Prints) -> Iterator[Pair]:
    """Every sticker of a group but the first, with the earlier one that tells most about it."""
    for place in range(1, len(group)):
        sticker = group[place]
        _, _, best = min(
            (earlier.split == sticker.split, earlier.label == sticker.label, number)
            for number, earlier in enumerate(group[:place])
        )
        same = prints.content[rows[best]] == prints.content[rows[place]]
        yield Pair("bytes" if same else "pixels", group[best], sticker)


def _telling(some: Sequence[Sticker], others: Sequence[Sticker]) -> tuple[Sticker, Sticker]:
    """Of two groups that are near each other the two stickers that tell most: other splits, other labels."""
    kinds = [{(one.split, one.label): one for one in reversed(group)} for group in (some, others)]
    return min(
        ((a, b) for a in kinds[0].values() for b in kinds[1].values()),
        key=lambda pair: (pair[0].split == pair[1].split, pair[0].label == pair[1].label),
    )


def _leaks(
    members: Sequence[Sequence[Sticker]], links: Sequence[tuple[int, int, str]]
) -> dict[str, tuple[str, str]]:
    """Stickers of train and validation whose picture is in a later split: id to (that id, kind)."""
    latest = [max(group, key=lambda one: _RANK.get(one.split, -1)) for group in members]
    later: list[tuple[Sticker, str]] = [(sticker, "equal") for sticker in latest]
    for a, b, kind in links:
        for here, there in ((a, b), (b, a)):
            if _RANK.get(latest[there].split, -1) > _RANK.get(later[here][0].split, -1):
                later[here] = (latest[there], kind)
    return {
        sticker.id: (other.id, kind)
        for group, (other, kind) in zip(members, later, strict=True)
        for sticker in group
        if -1 < _RANK.get(sticker.split, -1) < _RANK.get(other.split, -1)
    }


def _topics(stickers: Sequence[Sticker]) -> dict[str, int]:
    """How many topics (SER30K: sticker sets) train and test share."""
    by_split: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sticker in stickers:
        if sticker.topic is not None:
            by_split[sticker.split][sticker.topic] += 1
    train, test = by_split.get("train"), by_split.get("test")
    if not train or not test:
        return {}
    shared = train.keys() & test.keys()
    return {
        "train": len(train),
        "test": len(test),
        "shared": len(shared),
        "test_stickers": test.total(),
        "test_stickers_of_shared": sum(test[topic] for topic in shared),
    }
