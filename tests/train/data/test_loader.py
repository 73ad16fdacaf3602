"""Workers, how far they are ahead and where the pictures are read change nothing but the time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from squares import World
from torch import Tensor

from mghft.train.config import TrainConfig
from mghft.train.data.loader import EpochLoader
from mghft.train.data.sampler import AugmentedStickers, EpochBatches, eval_transform, train_transform
from mghft.train.data.splits import load_splits, open_corpus, views_of
from mghft.train.distributed.accelerator import build_accelerator
from mghft.train.evaluation.predict import predict
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train


def loader_of(config: TrainConfig) -> EpochLoader:
    split = load_splits(
        open_corpus(config.sources),
        ["train"],
        config.sources,
        config.cache,
        text=config.text,
        views=views_of(config.model),
        image_size=32,
        encoder=None,
    )["train"]
    stickers = AugmentedStickers(split.images, train_transform(32, config.augmentation), config.seed)
    batches = EpochBatches(24, seed=config.seed, batch_size=6, repeats=config.repeats, rank=0, processes=1)
    return EpochLoader(stickers, batches, config.loading, cuda=False)


def read(batches: Iterator[tuple[Tensor, Tensor]]) -> list[tuple[list[int], Tensor]]:
    return [(indices.tolist(), images) for images, indices in batches]


def same(one: list[tuple[list[int], Tensor]], other: list[tuple[list[int], Tensor]]) -> bool:
    return [ids for ids, _ in one] == [ids for ids, _ in other] and all(
        torch.equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(
    "fields", [{"workers": 1}, {"workers": 2, "prefetch": 3}, {"workers": 2, "cache_gb": 0}]
)
def test_prepared_epochs_are_those_read_without_workers(world: World, fields: dict[str, int]) -> None:
    plain = loader_of(world.config("plain"))
    helped = loader_of(world.config("helped", **fields))
    for epoch in range(3):
        assert same(read(helped.epoch(epoch)), read(plain.epoch(epoch)))
        helped.prepare(epoch + 1)
        plain.prepare(epoch + 1)
    # Asked for another place than the prepared one, as after a resume.
    assert same(read(helped.epoch(1, 2)), read(plain.epoch(1))[2:])
    assert same(read(helped.epoch(2)), read(plain.epoch(2)))


def test_next_epoch_is_read_while_the_main_process_is_busy(world: World) -> None:
    loader = loader_of(world.config("run", workers=1, prefetch=4))
    read(loader.epoch(0))
    loader.prepare(1)
    data = loader._loader._iterator  # type: ignore[attr-defined]
    deadline = time.monotonic() + 60
    while data._worker_result_queue.empty() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not data._worker_result_queue.empty()


def test_loop_prepares_every_epoch_but_the_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []
    monkeypatch.setattr(EpochLoader, "prepare", lambda self, epoch: prepared.append(epoch))
    train(world.config("run", epochs=3))
    assert prepared == [1, 2]


def test_validation_by_workers_gives_the_same_probabilities(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = world.config("run", use_text=False)
    found: list[Trainer] = []
    monkeypatch.setattr(Trainer, "fit", lambda self: found.append(self))
    train(config)
    trainer = found[0]
    transform = eval_transform(32, config.augmentation)

    def probabilities(workers: int) -> np.ndarray:
        return predict(
            trainer.weights.full_model(),
            trainer.data.validation,
            transform,
            accelerator=build_accelerator(config.mixed_precision),
            batch_size=2,
            workers=workers,
        )

    assert (probabilities(0) == probabilities(2)).all()
