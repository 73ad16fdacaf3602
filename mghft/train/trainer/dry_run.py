"""A few steps of everything, kept nowhere: does it fit, does it run, how long will the whole take?"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import time
from dataclasses import dataclass

from mghft.train.config import TrainConfig
from mghft.train.options import Checkpointing
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.state import memory_mb
from mghft.train.trainer.trainer import open_trainer

# The first step also pays for allocating and for what is compiled; the others are the measure.
_STEPS = 4


@dataclass(frozen=True)
class Measurements:
    """Times of a dry run in seconds.

    Attributes:
        first_step, step: the first one, and the median of the others.
        validation: of the whole split, by the few stickers of one batch.
        saving: of a checkpoint.
        checkpoint_bytes: its size on disk.
        memory_mb: highest of this process, or of its GPU.
    """

    first_step: float
    step: float
    validation: float
    saving: float
    checkpoint_bytes: int
    memory_mb: float


@dataclass(frozen=True)
class DryRun:
    """A training that was tried out.

    Attributes:
        batch: stickers of a step, of all processes together.
        validated: stickers of the validation split.
    """

    measured: Measurements
    batch: int
    processes: int
    epochs: int
    steps_per_epoch: int
    validated: int
    checkpointing: Checkpointing

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch with its validation."""
        return self.steps_per_epoch * self.measured.step + self.measured.validation

    @property
    def whole_seconds(self) -> float:
        """Seconds of the whole run with its checkpoints."""
        saves = self.checkpointing.count(self.epochs, self.steps_per_epoch)
        return self.epochs * self.epoch_seconds + saves * self.measured.saving


def dry_run(config: TrainConfig) -> DryRun:
    """Try a training out beside its run folder, and remove all of it.

    Decoded images and text features stay in the cache, for the run itself.

    Raises:
        ValueError, FileNotFoundError: something the user gave is wrong; one sentence.
    """
    config = config.for_overfit_check()
    # Beside the run folder, so that a folder that cannot be written or a disk that is full shows now.
    folder = config.out.parent / f".{config.out.name}.dry-run"
    main = os.environ.get("RANK", "0") == "0"
    if main:
        shutil.rmtree(folder, ignore_errors=True)
    changes = {"out": folder, "resume": True, "allow_changes": (), "progress": False, "tracker": None}
    if config.tune_text_encoder:
        # Every text would be encoded for the statistics, which no time, size or memory depends on.
        changes["standardize_text"] = False
    try:
        with open_trainer(config.model_copy(update=changes)) as trainer:
            assert trainer is not None, "the folder of a dry run holds no finished run"
            measured = measure(trainer)
            return DryRun(
                measured,
                batch=config.batch_size * trainer.accelerator.num_processes,
                processes=trainer.accelerator.num_processes,
                epochs=config.epochs,
                steps_per_epoch=trainer.batches.steps,
                validated=len(trainer.data.validation.stickers),
                checkpointing=config.checkpointing,
            )
    finally:
        if main:
            shutil.rmtree(folder, ignore_errors=True)


def measure(trainer: Trainer) -> Measurements:
    """Take a few steps, predict one batch of validation and write a checkpoint.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM.
    """
    seconds = []
    for step in itertools.islice(trainer.train_steps(), _STEPS):
        seconds.append(step.seconds)
        if trainer.leave:
            raise KeyboardInterrupt
    split = trainer.data.validation
    count = min(len(split.stickers), trainer.config.eval_batch_size * trainer.accelerator.num_processes)
    started = time.perf_counter()
    trainer.predict(trainer.weights.full_model(), split.head(count))
    validation = (time.perf_counter() - started) * len(split.stickers) / count
    started = time.perf_counter()
    trainer.save()
    saving = time.perf_counter() - started
    size = sum(
        path.stat().st_size
        for folder in checkpoint_paths(trainer.config.out)
        for path in folder.rglob("*")
        if path.is_file()
    )
    trainer.close()
    return Measurements(
        first_step=seconds[0],
        step=statistics.median(seconds[1:] or seconds),
        validation=validation,
        saving=saving,
        checkpoint_bytes=size,
        memory_mb=memory_mb(trainer.accelerator.device),
    )


def format_report(tried: DryRun) -> str:
    """Return what a run will take, a line for each."""
    measured = tried.measured
    return "\n".join(
        [
            f"a step: {measured.step:.3f} s for {tried.batch} stickers "
            f"({tried.batch / measured.step:.0f} stickers/s), the first {measured.first_step:.1f} s",
            f"an epoch: {tried.steps_per_epoch} steps, {tried.epoch_seconds:.1f} s with validation of "
            f"{tried.validated} stickers",
            f"memory: {measured.memory_mb:.0f} MB in this process at most"
            + (f", {tried.processes} processes" if tried.processes > 1 else ""),
            f"a checkpoint: {measured.checkpoint_bytes / 2**20:.1f} MB, {measured.saving:.2f} s; "
            "written and removed",
            f"the whole run: about {duration(tried.whole_seconds)} for {tried.epochs} epochs, by these few "
            "steps",
        ]
    )


def duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
