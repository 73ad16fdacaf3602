"""The order of the stickers and their augmentation: pure functions of (seed, epoch, position).

Nothing here has a state of its own, so a run resumed at (epoch, step) sees exactly what it would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.transforms_factory import transforms_imagenet_eval, transforms_imagenet_train
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mghft.train.augmentation import Augmentation
from mghft.train.data.image_cache import StickerImages


class Draw(NamedTuple):
    """One place in the order of an epoch."""

    epoch: int
    position: int
    sticker: int


def mixed_seed(*numbers: int) -> int:
    """Return a seed for torch from several numbers; different numbers give unrelated streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def epoch_order(count: int, *, seed: int, epoch: int, batch: int, repeats: int = 1) -> NDArray[np.int64]:
    """Return the indices of one epoch, a whole number of global batches long.

    With repeats each sticker comes several times in a row, so that neighbours in a batch (and, across
    processes, the batches of one step) hold copies of it; the epoch keeps its length and sees
    fewer stickers (repeated augmentation as in DeiT). What does not fill a batch is left out; another
    epoch leaves out others.
    """
    shuffled = np.random.default_rng([seed, epoch]).permutation(count)
    return np.resize(np.repeat(shuffled, repeats), max(count // batch, 1) * batch)


def balanced_order(
    labels: NDArray[np.int64], *, seed: int, epoch: int, batch: int, repeats: int = 1
) -> NDArray[np.int64]:
    """Return an epoch with every class equally often: one sticker of each class, in a new order, and again.

    A small class is gone through several times an epoch, each time in another order; of a large one every
    epoch sees other stickers. Arguments as those of `epoch_order`.
    """
    rng = np.random.default_rng([seed, epoch, len(labels)])
    places = max(len(labels) // batch, 1) * batch
    classes = np.unique(labels)
    rounds = -(-places // (len(classes) * repeats))
    columns = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        passes = -(-rounds // len(members))
        columns.append(np.concatenate([rng.permutation(members) for _ in range(passes)])[:rounds])
    mixed = rng.permuted(np.stack(columns, axis=1), axis=1).ravel()
    return np.repeat(mixed, repeats)[:places]


# Of the released order: an epoch is cut to a multiple of this many stickers.
RELEASED_MULTIPLE = 256


def released_order(count: int, *, epoch: int, processes: int, repeats: int) -> NDArray[np.int64]:
    """Return the order of the released code, [processes, places], which no seed of the run changes.

    That is DeiT's repeated augmentation (Touvron et al., ICML 2021): a permutation by torch's generator with
    the epoch as its seed, every sticker several times in a row, dealt out to the processes in turn, of which
    each keeps so many that all together see `count`, cut to a multiple of 256.
    """
    generator = torch.Generator().manual_seed(epoch)
    shuffled = torch.randperm(count, generator=generator).numpy()
    dealt = -(-count * repeats // processes) * processes
    kept = count // RELEASED_MULTIPLE * RELEASED_MULTIPLE // processes
    return np.resize(np.repeat(shuffled, repeats), dealt).reshape(-1, processes).T[:, :kept]


class EpochBatches(Sampler[list[Draw]]):
    """The batches of one process; `start` sets the epoch and its first step.

    Args:
        labels: [count] class of every sticker, for balanced sampling; None draws every sticker equally often.
        released: the order of the released code; what does not fill a batch of a process is left out.

    Raises:
        ValueError: the released order leaves less than a batch.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        batch_size: int,
        repeats: int,
        rank: int,
        processes: int,
        labels: NDArray[np.int64] | None = None,
        released: bool = False,
    ) -> None:
        self._count, self._seed, self._repeats, self._labels = count, seed, repeats, labels
        self._released, self._batch_size = released, batch_size
        if released and count // RELEASED_MULTIPLE * RELEASED_MULTIPLE // processes < batch_size:
            raise ValueError(
                f"order: the released order cuts an epoch to multiples of {RELEASED_MULTIPLE} stickers, "
                f"and of "
                f"{count} less than a batch of {batch_size} for each process is left: take order=own"
            )
        self._rank, self._processes, self._global_batch = rank, processes, batch_size * processes
        self._epoch, self._first_step = 0, 0

    def start(self, epoch: int, first_step: int = 0) -> None:
        """Choose the epoch that the next iteration yields, and the step it begins with."""
        self._epoch, self._first_step = epoch, first_step

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        if self._released:
            kept = self._count // RELEASED_MULTIPLE * RELEASED_MULTIPLE // self._processes
            return kept // self._batch_size
        return max(self._count // self._global_batch, 1)

    def __len__(self) -> int:
        return self.steps - self._first_step

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self._order()
        for step in range(self._first_step, self.steps):
            start = step * self._global_batch
            places = range(start + self._rank, start + self._global_batch, self._processes)
            yield [Draw(self._epoch, place, int(order[place])) for place in places]

    def _order(self) -> NDArray[np.int64]:
        if self._released:
            by_process = released_order(
                self._count, epoch=self._epoch, processes=self._processes, repeats=self._repeats
            )
            # Place by place, as the others: what lies next to each other is of different processes.
            return by_process.T.ravel()
        options = {
            "seed": self._seed,
            "epoch": self._epoch,
            "batch": self._global_batch,
            "repeats": self._repeats,
        }
        if self._labels is None:
            return epoch_order(self._count, **options)
        return balanced_order(self._labels, **options)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the three generators that timm and torchvision draw from; restore them afterwards."""
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)


class AugmentedStickers(Dataset[tuple[Tensor, int]]):
    """Training images: (image [3, S, S] normalised, index of the sticker)."""

    def __init__(self, images: StickerImages, transform: Any, seed: int) -> None:
        self._images, self._transform, self._seed = images, transform, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        with seeded(mixed_seed(self._seed, draw.epoch, draw.position)):
            return self._transform(self._images[draw.sticker]), draw.sticker


class PlainStickers(Dataset[tuple[Tensor, int]]):
    """Evaluation images: (image [3, S, S] normalised, index of the sticker)."""

    def __init__(self, images: StickerImages, transform: Any) -> None:
        self._images, self._transform = images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), index


def train_transform(size: int, augmentation: Augmentation) -> Any:
    """Return timm's training transform for PIL images, or that of evaluation where augmentation is off."""
    if augmentation.off:
        return eval_transform(size, augmentation)
    fields = augmentation.model_dump(exclude={"crop_pct", "off"})
    return transforms_imagenet_train(size, **fields)


def eval_transform(size: int, augmentation: Augmentation) -> Any:
    """Return the transform that resizes so that the crop is `crop_pct` of the short side, and crops."""
    method = "bicubic" if augmentation.interpolation == "random" else augmentation.interpolation
    return transforms_imagenet_eval(size, crop_pct=augmentation.crop_pct, interpolation=method)
