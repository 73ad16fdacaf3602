"""The state of a run beside tensors: its place, its best epoch, sums of the epoch under way; its records."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import torch

from mghft.model.mghft import MGHFTOutput
from mghft.model.peers import PeerOutput
from mghft.train.evaluation.metrics import ValidationFigures
from mghft.train.runs.records import EpochRecord, SavedState, Summary

LOSSES = ("loss", "classification_loss", "alignment_loss")
COUNTS = ("steps", "stickers", "seconds", "waiting")


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


@dataclass(kw_only=True)
class TrainState:
    """Place of a run, its best epoch by validation, and sums over the steps of the epoch under way.

    Attributes:
        sums: losses by their names in metrics.jsonl, and steps, stickers, seconds and waiting.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    steps_per_epoch: int
    best_epoch: int | None = None
    best_accuracy: float = -1.0
    best_loss: float = math.inf
    sums: dict[str, float]

    def add(self, step: Step) -> None:
        """Count a step that is done."""
        self.step += 1
        self.step_in_epoch += 1
        counts = {"steps": 1, "stickers": step.stickers, "seconds": step.seconds, "waiting": step.waiting}
        for name, value in {**step.losses, **counts}.items():
            self.sums[name] += value

    def end_epoch(self, figures: ValidationFigures) -> bool:
        """Go on to the next epoch; return whether this one is the best so far, by accuracy, then by loss."""
        better = (figures["accuracy"], -figures["loss"]) > (self.best_accuracy, -self.best_loss)
        self.epoch += 1
        if better:
            self.best_epoch = self.epoch
            self.best_accuracy, self.best_loss = figures["accuracy"], figures["loss"]
        self.step_in_epoch = 0
        self.sums = dict.fromkeys(self.sums, 0.0)
        return better

    def saved(self) -> SavedState:
        """Return the state for state.json."""
        return cast(SavedState, asdict(self))

    def resumed(self, saved: SavedState) -> TrainState:
        """Return the state of a checkpoint, for a run that begins with this one.

        Where a change that was allowed gives an epoch another number of steps, the share of it that is done
        stays.
        """
        steps, before = self.steps_per_epoch, saved["steps_per_epoch"]
        fields: dict[str, Any] = {**saved, "steps_per_epoch": steps, "sums": self.sums | saved["sums"]}
        state = TrainState(**fields)
        if steps != before:
            state.step_in_epoch = state.step_in_epoch * steps // before
            state.step = state.epoch * steps + state.step_in_epoch
        return state

    def summary(self) -> Summary:
        """Return the state of a finished run for summary.json."""
        return {
            "best_epoch": self.best_epoch,
            "best_accuracy": self.best_accuracy,
            "best_loss": self.best_loss,
            "epoch": self.epoch,
            "step": self.step,
        }


def fresh_state(steps_per_epoch: int, stages: Iterable[str]) -> TrainState:
    """Return the state of a run that begins.

    Args:
        stages: names of the losses of stages.
    """
    sums = dict.fromkeys((*LOSSES, *stages, *COUNTS), 0.0)
    return TrainState(steps_per_epoch=steps_per_epoch, sums=sums)


def stage_losses(alignment_stages: Sequence[bool]) -> dict[str, int]:
    """Return the name of the alignment loss of every stage that has one, and the stage's index."""
    return {f"alignment_loss_stage{stage + 1}": stage for stage, on in enumerate(alignment_stages) if on}


def loss_values(output: MGHFTOutput | PeerOutput, stages: Mapping[str, int]) -> dict[str, float]:
    """Return the losses of a step as numbers, 0 where the model has none; waits once for the device."""
    zero = torch.zeros((), device=output.logits.device)
    losses = [output.loss, output.classification_loss, output.alignment_loss]
    row = [zero if loss is None else loss.detach().double() for loss in losses]
    by_stage = output.stage_alignments
    row += [zero if by_stage is None else by_stage[stage].double() for stage in stages.values()]
    return dict(zip((*LOSSES, *stages), torch.stack(row).tolist(), strict=True))


def epoch_record(
    state: TrainState,
    sums: Mapping[str, float],
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
        **{name: value / sums["steps"] for name, value in sums.items() if name not in COUNTS},
        **{f"validation_{name}": value for name, value in figures.items()},
        "best": better,
        "stickers_per_second": sums["stickers"] / max(sums["seconds"], 1e-9),
        "seconds": sums["seconds"],
        "seconds_waiting": sums["waiting"],
        "seconds_validation": seconds_validation,
        "memory_mb": memory_mb,
    }
    return cast(EpochRecord, record)


def memory_mb(device: torch.device) -> float:
    """Return the highest memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
