"""The order of samples and their augmentation are functions of seed, epoch and position."""

from __future__ import annotations

import random

import numpy as np
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
