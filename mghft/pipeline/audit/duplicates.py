"""Exact and near duplicates in a corpus: what leaks between splits, which labels contradict others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from mghft.pipeline.audit.hashes import Fingerprints, take_fingerprints
from mghft.pipeline.audit.near import NearPair, near_pairs
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.progress import Advance

# Measured in docs/data_quality.md.
NEAR = 15.0
# More pairs than that are no finding about single stickers, and would fill the memory.
MAX_PAIRS = 200_000
KINDS = ("bytes", "pixels", "near", "mirrored")
# Of a pair in two splits, the sticker of the later one here stays: figures on test stay comparable.
_RANK = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Pair:
    """Two stickers that show the same.

    Attributes:
        kind: "bytes", "pixels", "near" or "mirrored".
        bits: of 64, how many of their perceptual hashes differ.
        difference: largest mean difference of color in any 1/64 of the picture, 0 to 255.
    """

    kind: str
    first: Sticker
    second: Sticker
    bits: int = 0
    difference: float = 0.0

    @property
    def across_splits(self) -> bool:
        """Return whether the stickers are in two splits."""
        return self.first.split != self.second.split

    @property
    def two_labels(self) -> bool:
        """Return whether the stickers have two labels."""
        return self.first.label != self.second.label

    def sort_key(self) -> tuple[bool, bool, bool, float, int, str, str]:
        """Return a key that sorts the worst first: leaks into test, other leaks, two labels, likeness."""
        test = "test" in {self.first.split, self.second.split}
        likeness = (self.difference, KINDS.index(self.kind), self.first.id, self.second.id)
        return (not (self.across_splits and test), not self.across_splits, not self.two_labels, *likeness)


class Leak(NamedTuple):
    """A sticker of a later split that shows what one of train or validation shows.

    Attributes:
        id: of the sticker in the later split.
        kind: "equal", "near" or "mirrored".
    """

    id: str
    kind: str


@dataclass(frozen=True)
class PairCounts:
    """Pairs of one kind."""

    pairs: int
    across_splits: int
    two_labels: int


@dataclass(frozen=True)
class TopicCounts:
    """Topics (SER30K: sticker sets) of train and test, and stickers of test whose topic train has too."""

    train: int
    test: int
    shared: int
    test_stickers: int
    test_stickers_of_shared: int


@dataclass(frozen=True)
class Duplicates:
    """Duplicates of one corpus.

    Attributes:
        pairs: worst first; in a group of k equal pictures k - 1 pairs, so that every sticker of it is named.
        leaks: by the id of a sticker in train or validation.
        topics: None where the corpus has none, in train or in test.
        errors: (id, reason) of images that could not be compared.
        cut: whether there were more near pairs than are kept.
    """

    corpus: Corpus
    pairs: list[Pair]
    leaks: dict[str, Leak]
    topics: TopicCounts | None
    errors: list[tuple[str, str]]
    cut: bool

    def counts(self) -> dict[str, PairCounts]:
        """Count pairs by kind."""
        by_kind = {kind: [pair for pair in self.pairs if pair.kind == kind] for kind in KINDS}
        return {
            kind: PairCounts(
                len(pairs),
                sum(pair.across_splits for pair in pairs),
                sum(pair.two_labels for pair in pairs),
            )
            for kind, pairs in by_kind.items()
        }


def find_duplicates(
    corpus: Corpus,
    *,
    near: float = NEAR,
    workers: int | None = None,
    progress: Advance | None = None,
) -> Duplicates:
    """Compare every image of a corpus with every other.

    Args:
        corpus: the stickers.
        near: largest difference of near duplicates (`Pair.difference`); 0 looks for exact ones alone.
        workers: processes that decode; None takes one per core.
        progress: called with (images decoded, images in all).
    """
    stickers = corpus.stickers
    paths = [sticker.path for sticker in stickers]
    prints = take_fingerprints(corpus.root, paths, workers=workers, progress=progress)
    # Equal pictures form groups; one picture of each stands for it in the search for near ones.
    by_pixels: defaultdict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(prints.pixels):
        by_pixels[digest].append(row)
    groups = list(by_pixels.values())
    members = [[stickers[int(prints.numbers[row])] for row in group] for group in groups]
    pairs: list[Pair] = []
    for rows, group in zip(groups, members, strict=True):
        pairs += _equal_pairs(rows, group, prints)
    links: list[NearPair] = []
    if near > 0:
        chosen = np.array([group[0] for group in groups], dtype=np.int64)
        links = list(islice(near_pairs(prints, chosen, near), MAX_PAIRS + 1))
    cut = len(links) > MAX_PAIRS
    links = links[:MAX_PAIRS]
    pairs += [
        Pair(link.kind, *_most_telling(members[link.a], members[link.b]), link.bits, link.difference)
        for link in links
    ]
    return Duplicates(
        corpus,
        sorted(pairs, key=Pair.sort_key),
        _leaks(members, links),
        _count_topics(stickers),
        [(stickers[number].id, reason) for number, reason in prints.errors],
        cut,
    )


def _equal_pairs(rows: Sequence[int], group: Sequence[Sticker], prints: Fingerprints) -> Iterator[Pair]:
    """Every sticker of a group but the first, with the earlier one that tells most about it."""
    first: dict[tuple[str, int | None], int] = {}
    for place, sticker in enumerate(group):
        if first:
            _, _, best = min(
                (split == sticker.split, label == sticker.label, earlier)
                for (split, label), earlier in first.items()
            )
            same = prints.content[rows[best]] == prints.content[rows[place]]
            yield Pair("bytes" if same else "pixels", group[best], sticker)
        first.setdefault((sticker.split, sticker.label), place)


def _most_telling(some: Sequence[Sticker], others: Sequence[Sticker]) -> tuple[Sticker, Sticker]:
    """Of two groups that are near each other the two stickers that tell most: other splits, other labels."""
    kinds = [{(one.split, one.label): one for one in reversed(group)} for group in (some, others)]
    return min(
        ((a, b) for a in kinds[0].values() for b in kinds[1].values()),
        key=lambda pair: (pair[0].split == pair[1].split, pair[0].label == pair[1].label),
    )


def _leaks(members: Sequence[Sequence[Sticker]], links: Sequence[NearPair]) -> dict[str, Leak]:
    """Stickers of train and validation whose picture is in a later split."""

    def rank(sticker: Sticker) -> int:
        return _RANK.get(sticker.split, -1)

    latest = [max(group, key=rank) for group in members]
    later: list[tuple[Sticker, str]] = [(sticker, "equal") for sticker in latest]
    for link in links:
        for group, other in ((link.a, link.b), (link.b, link.a)):
            if rank(latest[other]) > rank(later[group][0]):
                later[group] = (latest[other], link.kind)
    return {
        sticker.id: Leak(sticker_of_later.id, kind)
        for stickers, (sticker_of_later, kind) in zip(members, later, strict=True)
        for sticker in stickers
        if -1 < rank(sticker) < rank(sticker_of_later)
    }


def _count_topics(stickers: Sequence[Sticker]) -> TopicCounts | None:
    by_split: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sticker in stickers:
        if sticker.topic is not None:
            by_split[sticker.split][sticker.topic] += 1
    train, test = by_split["train"], by_split["test"]
    if not train or not test:
        return None
    shared = train.keys() & test.keys()
    of_shared = sum(test[topic] for topic in shared)
    return TopicCounts(len(train), len(test), len(shared), test.total(), of_shared)
