"""Augmented batches, prepared by workers while the step computes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from mghft.train.data.sampler import AugmentedStickers, EpochBatches
from mghft.train.options import Loading


class EpochLoader:
    """The batches of one epoch after the other; workers live as long as the run.

    The content of a batch is decided by its epoch and step alone, so neither the number of workers nor how
    far they are ahead changes a run.
    """

    def __init__(
        self, stickers: AugmentedStickers, batches: EpochBatches, loading: Loading, *, cuda: bool
    ) -> None:
        self._batches, self._workers = batches, loading.workers
        self._loader: DataLoader[Any] = DataLoader(
            stickers,
            batch_sampler=batches,
            num_workers=loading.workers,
            worker_init_fn=leave_signals_to_the_loop,
            persistent_workers=loading.workers > 0,
            prefetch_factor=loading.prefetch if loading.workers else None,
            pin_memory=cuda and loading.pin_memory,
        )
        self._ahead: tuple[int, Iterator[Any]] | None = None

    def prepare(self, epoch: int) -> None:
        """Let the workers begin an epoch that will be asked for; the one before must be at its end."""
        if self._workers:
            self._batches.start(epoch)
            self._ahead = epoch, iter(self._loader)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Return images [B, 3, S, S] and indices [B] of the stickers, step by step."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and (epoch, first_step) == (ahead[0], 0):
            return ahead[1]
        self._batches.start(epoch, first_step)
        return iter(self._loader)


def leave_signals_to_the_loop(worker: int) -> None:
    """Set a worker of the data loader up: Ctrl-C and a first SIGTERM are the loop's business.

    `timeout`, `scancel` and service managers send SIGTERM to all processes of a group: the worker has to
    outlive it until the loop has finished its step and saved. A second one ends the worker, as torch ends one
    that does not leave by itself.
    """

    def leave_next_time(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave_next_time)
