"""The state of a run beside tensors: its place, its best epoch, sums of the epoch under way; its records."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch

from mghft.model.mghft import MGHFTOutput
from mghft.train.evaluation.metrics import ValidationFigures
from mghft.train.runs.records import EpochRecord, SavedState, Summary

_LOSSES = ("loss", "classification_loss", "alignment_loss")


class Step(NamedTuple):
    """One step that is done.

    Attributes:
        losses: means over the processes, by their names in metrics.jsonl.
        stickers: of all processes.
        seconds: since the step before.
        waiting: seconds of these that the step waited for its images.
    """

    losses: dict[str, float]
    stickers: int
    seconds: float
    waiting: float


@dataclass
class EpochSums:
    """Sums over the steps of the epoch under way; losses by their names in metrics.jsonl."""

    losses: dict[str, float]
    steps: float = 0.0
    stickers: float = 0.0
    seconds: float = 0.0
    waiting: float = 0.0

    @classmethod
    def zero(cls, losses: Iterable[str]) -> EpochSums:
        """Return the sums of no step."""
        return cls(dict.fromkeys(losses, 0.0))

    @classmethod
    def read(cls, saved: Mapping[str, float]) -> EpochSums:
        """Read what `saved` returned."""
        losses = dict(saved)
        counts = {name: losses.pop(name) for name in ("steps", "stickers", "seconds", "waiting")}
        return cls(losses, **counts)

    def saved(self) -> dict[str, float]:
        """Return all sums by their names in state.json."""
        return {
            **self.losses,
            "steps": self.steps,
            "stickers": self.stickers,
            "seconds": self.seconds,
            "waiting": self.waiting,
        }

    def add(self, step: Step) -> None:
        """Count a step that is done."""
        for name, value in step.losses.items():
            self.losses[name] += value
        self.steps += 1
        self.stickers += step.stickers
        self.seconds += step.seconds
        self.waiting += step.waiting

    def means(self) -> dict[str, float]:
        """Return the mean losses of a step."""
        return {name: value / self.steps for name, value in self.losses.items()}


@dataclass
class TrainState:
    """Place of a run, its best epoch by validation, and the sums of the epoch under way."""

    steps_per_epoch: int
    sums: EpochSums
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_epoch: int | None = None
    best_accuracy: float = -1.0
    best_loss: float = math.inf

    def resumed(self, saved: SavedState) -> TrainState:
        """Return the state of a checkpoint, for a run that begins with this one.

        Where a change that was allowed gives an epoch another number of steps, the share of it that is done
        stays.
        """
        steps, before = self.steps_per_epoch, saved["steps_per_epoch"]
        done, step = saved["step_in_epoch"], saved["step"]
        if steps != before:
            done = done * steps // before
            step = saved["epoch"] * steps + done
        sums = EpochSums.read(saved["sums"])
        sums.losses = {**self.sums.losses, **sums.losses}
        return TrainState(
            steps_per_epoch=steps,
            sums=sums,
            epoch=saved["epoch"],
            step_in_epoch=done,
            step=step,
            best_epoch=saved["best_epoch"],
            best_accuracy=saved["best_accuracy"],
            best_loss=saved["best_loss"],
        )

    def saved(self) -> SavedState:
        """Return what state.json holds of it."""
        return {
            "epoch": self.epoch,
            "step_in_epoch": self.step_in_epoch,
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "best_loss": self.best_loss,
            "sums": self.sums.saved(),
        }

    def summary(self) -> Summary:
        """Return what summary.json holds of a finished run."""
        return {
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "best_loss": self.best_loss,
            "epoch": self.epoch,
            "step": self.step,
        }

    def add(self, step: Step) -> None:
        """Count a step that is done."""
        self.step += 1
        self.step_in_epoch += 1
        self.sums.add(step)

    def end_epoch(self, figures: ValidationFigures) -> bool:
        """Go on to the next epoch; return whether this one is the best so far, by accuracy, then by loss."""
        better = (figures["accuracy"], -figures["loss"]) > (self.best_accuracy, -self.best_loss)
        self.epoch += 1
        if better:
            self.best_epoch = self.epoch
            self.best_accuracy, self.best_loss = figures["accuracy"], figures["loss"]
        self.step_in_epoch = 0
        self.sums = EpochSums.zero(self.sums.losses)
        return better


def fresh_state(steps_per_epoch: int, stages: Iterable[str]) -> TrainState:
    """Return the state of a run that begins.

    Args:
        stages: names of the losses of stages.
    """
    return TrainState(steps_per_epoch, EpochSums.zero((*_LOSSES, *stages)))


def stage_losses(alignment_stages: Sequence[bool]) -> dict[str, int]:
    """Return the name of the alignment loss of every stage that has one, and the stage's index."""
    return {f"alignment_loss_stage{stage + 1}": stage for stage, on in enumerate(alignment_stages) if on}


def loss_values(output: MGHFTOutput, stages: Mapping[str, int]) -> dict[str, float]:
    """Return the losses of a step as numbers, 0 where the model has none; waits once for the device."""
    zero = torch.zeros((), device=output.logits.device)
    losses = [output.loss, output.classification_loss, output.alignment_loss]
    row = [zero if loss is None else loss.detach().double() for loss in losses]
    by_stage = output.stage_alignments
    row += [zero if by_stage is None else by_stage[stage].double() for stage in stages.values()]
    return dict(zip((*_LOSSES, *stages), torch.stack(row).tolist(), strict=True))


def epoch_record(
    state: TrainState,
    sums: EpochSums,
    *,
    rate: float,
    figures: ValidationFigures,
    better: bool,
    seconds_validation: float,
    memory_mb: float,
) -> EpochRecord:
    """Return the line of metrics.jsonl for an epoch that has ended.

    Args:
        sums: of that epoch.
        rate: learning rate of its last step.
        figures: of its validation.
        better: whether it is the best so far.
        memory_mb: highest so far.
    """
    record = {
        "epoch": state.epoch,
        "step": state.step,
        "lr": rate,
        **sums.means(),
        **{f"validation_{name}": value for name, value in figures.items()},
        "best": better,
        "stickers_per_second": sums.stickers / max(sums.seconds, 1e-9),
        "seconds": sums.seconds,
        "seconds_waiting": sums.waiting,
        "seconds_validation": seconds_validation,
        "memory_mb": memory_mb,
    }
    return cast(EpochRecord, record)


def memory_mb(device: torch.device) -> float:
    """Return the highest memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
