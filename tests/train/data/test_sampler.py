"""The order of samples and their augmentation are functions of seed, epoch and position."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import World

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.train.augmentation import Augmentation
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.sampler import (
    AugmentedStickers,
    Draw,
    EpochBatches,
    epoch_order,
    released_order,
    seeded,
    train_transform,
)


def test_order_is_a_function_of_seed_and_epoch() -> None:
    order = epoch_order(20, seed=1, epoch=2, batch=5)
    np.random.seed(99)
    assert (order == epoch_order(20, seed=1, epoch=2, batch=5)).all()
    assert (order != epoch_order(20, seed=1, epoch=3, batch=5)).any()
    assert (order != epoch_order(20, seed=2, epoch=2, batch=5)).any()
    assert sorted(order.tolist()) == list(range(20))


def test_repeats_keep_the_length_of_the_epoch() -> None:
    order = epoch_order(20, seed=1, epoch=0, batch=6, repeats=3)
    assert len(order) == 18
    _, counts = np.unique(order, return_counts=True)
    assert (counts == 3).all()


def test_fewer_stickers_than_a_batch_still_fill_one() -> None:
    assert len(epoch_order(3, seed=1, epoch=0, batch=8)) == 8


def test_processes_share_an_epoch_without_overlap() -> None:
    def positions(rank: int) -> list[int]:
        batches = EpochBatches(24, seed=3, batch_size=4, repeats=1, rank=rank, processes=2)
        batches.start(1)
        return [draw.position for batch in batches for draw in batch]

    assert sorted(positions(0) + positions(1)) == list(range(24))


def test_start_in_the_middle_gives_the_rest_of_the_epoch() -> None:
    batches = EpochBatches(24, seed=3, batch_size=4, repeats=1, rank=0, processes=1)
    batches.start(1)
    whole = list(batches)
    batches.start(1, 4)
    assert list(batches) == whole[4:]
    assert len(batches) == 2


def test_augmentation_depends_on_seed_epoch_and_position_alone(world: World) -> None:
    corpus = load_corpus(load_card(str(world.card)), world.data)
    source = FileImages(corpus.root, corpus.split("train"))
    images = StickerImages(source, short_side=32, folder=world.folder / "c", limit_gb=1)
    stickers = AugmentedStickers(images, train_transform(32, Augmentation(color_jitter=0.4)), seed=5)
    first, _ = stickers[Draw(1, 2, 3)]
    random.seed(0)
    torch.manual_seed(0)
    stickers[Draw(0, 0, 0)]
    assert torch.equal(stickers[Draw(1, 2, 3)][0], first)
    assert not torch.equal(stickers[Draw(2, 2, 3)][0], first)
    assert not torch.equal(stickers[Draw(1, 3, 3)][0], first)


def test_seeding_leaves_the_callers_generators_alone() -> None:
    torch.manual_seed(7)
    random.seed(7)
    expected = torch.rand(1), random.random()
    torch.manual_seed(7)
    random.seed(7)
    with seeded(123):
        torch.rand(3)
        random.random()
    assert (torch.rand(1), random.random()) == expected


def test_cached_images_are_those_decoded_from_files(world: World) -> None:
    corpus = load_corpus(load_card(str(world.card)), world.data)
    stickers = corpus.split("train")
    folder = world.folder / "c"
    source = FileImages(corpus.root, stickers)
    cached = StickerImages(source, short_side=24, folder=folder, limit_gb=1)
    direct = StickerImages(source, short_side=24, folder=world.folder / "d", limit_gb=0)
    assert len(list(folder.glob("*.bin"))) == 1
    assert not (world.folder / "d").exists()
    assert all(np.array_equal(np.asarray(cached[i]), np.asarray(direct[i])) for i in range(len(stickers)))
    assert min(cached[0].size) == 24


GOLDEN = Path(__file__).parents[2] / "golden" / "recipe"
DRAWN = json.loads((GOLDEN / "sampler.json").read_text())


@pytest.mark.parametrize("name", DRAWN)
def test_released_order_is_that_of_the_released_sampler(name: str) -> None:
    drawn = DRAWN[name]
    found = released_order(drawn["dataset"], epoch=drawn["epoch"], processes=drawn["replicas"], repeats=3)
    assert found.shape == (drawn["replicas"], drawn["per_rank"])
    assert found[:, :24].tolist() == drawn["first_24_of_each_rank"]
    assert len(np.unique(found)) == drawn["distinct_images"]
    if "all" in drawn:
        assert found.tolist() == drawn["all"]


@pytest.mark.parametrize("rank", [0, 1])
def test_batches_of_a_process_follow_the_released_order(rank: int) -> None:
    drawn = DRAWN["n1000_r2_e1"]
    how = {"seed": 5, "batch_size": 16, "repeats": 3, "rank": rank, "processes": 2, "released": True}
    batches = EpochBatches(1000, **how)
    batches.start(1)
    found = list(batches)
    assert len(found) == batches.steps == 24
    assert [draw.sticker for batch in found for draw in batch] == drawn["all"][rank]
    batches.start(1, 3)
    assert list(batches) == found[3:]


def test_released_order_of_too_few_stickers_is_refused() -> None:
    with pytest.raises(ValueError, match="order: the released order cuts an epoch to multiples of 256"):
        EpochBatches(200, seed=1, batch_size=16, repeats=3, rank=0, processes=1, released=True)
