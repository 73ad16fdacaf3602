"""Equal pictures stay in one split; a corpus without any is split as it always was."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter

import pytest

from mghft.pipeline.corpora.split_groups import stratum_of
from mghft.pipeline.corpora.splits import Ratio, make_split
from mghft.pipeline.corpora.sticker import SPLITS, Sticker

SHARES = Ratio.parse("6:2:2")


def memes(classes=(200, 100, 40), languages=("en", "zh")):
    return [
        Sticker(f"{language}/{label}/{i:03d}", "x.png", "all", label, str(label), subset=language)
        for language in languages
        for label, count in enumerate(classes)
        for i in range(count)
    ]


def counts(stickers, split):
    return Counter((stratum_of(one), split[one.id]) for one in stickers)


def torn(groups, split):
    return [group for group in groups if len({split[name] for name in group}) > 1]


def pairs(stickers, number, seed=1):
    """Pairs of any two stickers, often of two labels and two languages."""
    drawn = random.Random(seed).sample([one.id for one in stickers], 2 * number)
    return [list(pair) for pair in zip(drawn[::2], drawn[1::2], strict=True)]


def test_split_without_groups_is_the_one_of_before():
    split = make_split(memes(), SHARES, 3)
    # sha256 of the split of the release before groups were known.
    text = "\n".join(f"{name} {place}" for name, place in sorted(split.items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f0797de9b17d2fd4"
    assert make_split(memes(), SHARES, 3, together=[["en/0/000"], ["nobody", "en/0/001"]]) == split


def test_pairs_stay_together_and_every_count_stays():
    stickers = memes()
    before = make_split(stickers, SHARES, 0)
    groups = pairs(stickers, 60)
    assert len(torn(groups, before)) > 20
    split = make_split(stickers, SHARES, 0, together=groups)
    assert torn(groups, split) == []
    assert counts(stickers, split) == counts(stickers, before)
    # One sticker moves for its group and another in exchange.
    moved = sum(split[name] != before[name] for name in before)
    assert moved <= 2 * len(torn(groups, before))


def test_order_of_corpus_groups_and_members_changes_nothing():
    stickers, shuffle = memes(), random.Random(5)
    groups = [
        [*pair, third.id] for pair, third in zip(pairs(stickers[:300], 40), stickers[300:], strict=False)
    ]
    split = make_split(stickers, SHARES, 2, together=groups)
    for group in groups:
        shuffle.shuffle(group)
    shuffle.shuffle(groups)
    again = make_split(shuffle.sample(stickers, len(stickers)), SHARES, 2, together=groups)
    assert again == split and make_split(stickers, SHARES, 1, together=groups) != split


def test_large_group_goes_into_the_largest_split_and_the_others_keep_their_size():
    stickers = memes((100,), ("en",))
    for seed in range(8):
        group = [f"en/0/{number:03d}" for number in range(30)]
        split = make_split(stickers, SHARES, seed, together=[group])
        assert {split[name] for name in group} == {"train"}
        assert Counter(split.values()) == {"train": 60, "validation": 20, "test": 20}


def test_where_too_few_are_left_in_exchange_the_group_still_stays_together():
    stickers = memes((10,), ("en",))
    group = [f"en/0/{number:03d}" for number in range(9)]
    with pytest.raises(ValueError, match=r"no sticker is left for (validation|test): .*--ignore-duplicates"):
        make_split(stickers, SHARES, 0, together=[group])
    pair_groups = [[f"en/0/{n:03d}", f"en/0/{n + 1:03d}"] for n in range(0, 10, 2)]
    split = make_split(stickers, SHARES, 0, together=pair_groups)
    assert torn(pair_groups, split) == []


def test_exchange_of_another_label_keeps_the_size_of_a_language():
    stickers = memes((8, 40), ("en",))
    groups = [[f"en/0/{n:03d}", f"en/0/{n + 1:03d}"] for n in range(0, 8, 2)]
    for seed in range(6):
        before = make_split(stickers, SHARES, seed)
        split = make_split(stickers, SHARES, seed, together=groups)
        assert torn(groups, split) == [] and Counter(split.values()) == Counter(before.values())


def test_kept_split_neither_gains_nor_loses():
    stickers = [
        Sticker(f"{i:03d}", "x.png", "test" if i < 20 else "train", i % 2, str(i % 2)) for i in range(100)
    ]
    groups = [["000", "050", "051"], ["060", "061"], ["001", "002"]]
    for seed in range(8):
        split = make_split(stickers, Ratio.parse("8:2:0"), seed, keep=["test"], together=groups)
        assert [name for name, place in split.items() if place == "test"] == [f"{i:03d}" for i in range(20)]
        assert split["050"] == split["051"] and split["060"] == split["061"]
        assert Counter(split.values()) == {"test": 20, "train": 64, "validation": 16}


def test_first_members_decide_so_that_groups_spread_as_stickers_do():
    stickers = memes((400,), ("en",))
    groups = [[f"en/0/{n:03d}", f"en/0/{n + 1:03d}"] for n in range(0, 300, 2)]
    split = make_split(stickers, SHARES, 0, together=groups)
    found = Counter(split[group[0]] for group in groups)
    assert all(
        found[name] == pytest.approx(150 * share / 10, abs=20)
        for name, share in zip(SPLITS, (6, 2, 2), strict=True)
    )
    assert len(set(itertools.chain(*groups))) == 300
