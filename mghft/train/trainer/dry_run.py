"""A few steps of everything, kept nowhere: does it fit, does it run, how long will the whole take?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import statistics
import time
from typing import Any

from mghft.train.config import TrainConfig
from mghft.train.evaluation.predict import predict, to_predict
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.overfit import overfit_config
from mghft.train.trainer.state import memory_mb
from mghft.train.trainer.trainer import Trainer, run_trainer

# The first step also pays for allocating and for what is compiled; the others are the measure.
_STEPS = 4


class _EnoughSteps(Exception):  # noqa: N818 - it ends a loop
    """All steps of the trial are done."""


class _Watch:
    """Stands where the progress bar is, notes when steps end, and stops the epoch."""

    def __init__(self) -> None:
        self.ended = [time.perf_counter()]

    def update(self) -> None:
        self.ended.append(time.perf_counter())
        if len(self.ended) > _STEPS:
            raise _EnoughSteps

    def set_postfix(self, **_: Any) -> None: ...

    def seconds(self) -> float:
        """Median of the steps after the first."""
        steps = [after - before for before, after in zip(self.ended, self.ended[1:], strict=False)]
        return statistics.median(steps[1:] or steps)


class _Trial(Trainer):
    """Data, forward, backward and optimizer by the loop's own steps; validation and checkpoint once each."""

    report = ""

    def fit(self) -> None:
        config, watch = self.config, _Watch()
        with contextlib.suppress(_EnoughSteps):
            self.train_epoch(watch)
        whole = len(self.validation.stickers)
        some = min(whole, config.eval_batch_size * self.accelerator.num_processes)
        part = dataclasses.replace(self.validation, stickers=self.validation.stickers[:some])
        started = time.perf_counter()
        predict(
            *to_predict(self.weights.whole(), part),
            self.eval_transform,
            accelerator=self.accelerator,
            batch_size=config.eval_batch_size,
        )
        validation = (time.perf_counter() - started) * whole / some
        started = time.perf_counter()
        self.save()
        saving = time.perf_counter() - started
        folders = checkpoint_paths(config.out)
        size = sum(path.stat().st_size for path in folders[0].rglob("*") if path.is_file()) if folders else 0
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
        step, steps = watch.seconds(), self.batches.steps
        saves = -(-config.epochs // config.checkpoint_every_epochs)
        if config.checkpoint_every_steps is not None:
            saves += config.epochs * steps // config.checkpoint_every_steps
        seconds = config.epochs * (steps * step + validation) + saves * saving
        processes = self.accelerator.num_processes
        self.report = "\n".join(
            [
                f"a step: {step:.3f} s for {config.batch_size * processes} stickers "
                f"({config.batch_size * processes / step:.0f} stickers/s), "
                f"the first {watch.ended[1] - watch.ended[0]:.1f} s",
                f"an epoch: {steps} steps, {steps * step + validation:.1f} s "
                f"with validation of {whole} stickers",
                f"memory: {memory_mb(self.accelerator.device):.0f} MB in this process at most"
                + (f", {processes} processes" if processes > 1 else ""),
                f"a checkpoint: {size / 2**20:.1f} MB, {saving:.2f} s; written and removed",
                f"the whole run: about {_duration(seconds)} for {config.epochs} epochs, by these few steps",
            ]
        )


def dry_run(config: TrainConfig) -> str:
    """Tries a training out beside its run folder, removes all of it, and says what the whole will take.

    Decoded images and text features stay in the cache, for the run itself.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
    """
    config = overfit_config(config)
    # Where the run will be, so that a folder that cannot be written or a disk that is full shows now.
    folder = config.out.parent / f".{config.out.name}.dry-run"
    main = os.environ.get("RANK", "0") == "0"
    if main:
        shutil.rmtree(folder, ignore_errors=True)
    trial = config.model_copy(
        update={"out": folder, "resume": True, "allow_changes": (), "progress": False, "tracker": None}
    )
    try:
        trainer = run_trainer(trial, _Trial)
    finally:
        if main:
            shutil.rmtree(folder, ignore_errors=True)
    assert isinstance(trainer, _Trial)
    return trainer.report


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
