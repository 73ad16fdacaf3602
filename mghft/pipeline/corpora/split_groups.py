"""Groups of stickers (of equal pictures) that a split must not tear apart, at the cost of few moves."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mghft.pipeline.corpora.sticker import SPLITS, Sticker

# A group of so many fills no split, however few stickers that has.
_SMALL = 2
# Subset and label: what a split is stratified by.
Stratum = tuple[str, int]


def stratum_of(sticker: Sticker) -> Stratum:
    """Return subset and label of a sticker; -1 for one without a label."""
    return sticker.subset or "", -1 if sticker.label is None else sticker.label


def keep_together(
    split: Mapping[str, str],
    stickers: Sequence[Sticker],
    groups: Iterable[Sequence[str]],
    shares: Sequence[float],
    seed: int,
) -> dict[str, str]:
    """Return a split in which every group lies in one split; a split that tears none comes back as it is.

    A group goes where its first member (by id) is, or where by now more is lacking; more than two stickers
    that would fill more than half of that split's of a label go into the split with the largest share. For
    each sticker that moves, another one of the same subset and label, in no group, moves the other way, or
    else one of the same subset: so the counts stay as long as there is one. The outcome depends on ids,
    subsets, labels, groups and seed, not on any order.

    Args:
        split: by id, of the stickers that may be moved.
        stickers: of the corpus.
        groups: ids that belong together; those without a split in `split` are passed by.
        shares: of train, validation and test.
        seed: decides which stickers move in exchange.
    """
    result = dict(split)
    by_id = {sticker.id: sticker for sticker in stickers if sticker.id in split}
    members = sorted(found for group in groups if len(found := sorted({*group} & by_id.keys())) > 1)
    grouped = {name for group in members for name in group}
    single = _Singles([one for one in by_id.values() if one.id not in grouped], result, seed)
    wanted = Counter((split[name], stratum_of(sticker)) for name, sticker in by_id.items())
    largest = SPLITS[max(range(len(SPLITS)), key=lambda number: shares[number])]
    # By how many stickers of a stratum a split is over what it should have.
    surplus: Counter[tuple[str, Stratum]] = Counter()
    for group in members:
        places = list(dict.fromkeys(result[name] for name in group))
        if len(places) == 1:
            continue
        strata = Counter(stratum_of(by_id[name]) for name in group)
        # The first of equals: where the first member is.
        target = min(places, key=lambda place: sum(surplus[place, stratum] for stratum in strata))
        if any(count > max(_SMALL, wanted[target, stratum] / 2) for stratum, count in strata.items()):
            target = largest
        for name in group:
            source, stratum = result[name], stratum_of(by_id[name])
            if source == target:
                continue
            result[name] = target
            surplus[target, stratum] += 1
            surplus[source, stratum] -= 1
            if (other := single.exchange(stratum, target, source)) is not None:
                surplus[target, other] -= 1
                surplus[source, other] += 1
    return result


class _Singles:
    """The stickers in no group, to be moved in exchange; the split that they are in is brought up to date."""

    def __init__(self, stickers: Iterable[Sticker], split: dict[str, str], seed: int) -> None:
        self._split = split
        self._by_place: defaultdict[tuple[str, Stratum], list[str]] = defaultdict(list)

        def draw(sticker: Sticker) -> bytes:
            return hashlib.sha256(f"{seed}\n{sticker.id}".encode("utf-8", "surrogateescape")).digest()

        for sticker in sorted(stickers, key=draw):
            self._by_place[split[sticker.id], stratum_of(sticker)].append(sticker.id)

    def exchange(self, stratum: Stratum, source: str, target: str) -> Stratum | None:
        """Move a sticker of this stratum, or else of its subset, from one split to another.

        Returns:
            Its stratum; None where there is none to be moved.
        """
        subset = stratum[0]
        others = [place for place in self._by_place if place[0] == source and place[1][0] == subset]
        fullest = sorted(others, key=lambda place: (-len(self._by_place[place]), place[1]))
        for place in ((source, stratum), *fullest):
            if waiting := self._by_place[place]:
                name = waiting.pop()
                self._split[name] = target
                self._by_place[target, place[1]].insert(0, name)
                return place[1]
        return None
