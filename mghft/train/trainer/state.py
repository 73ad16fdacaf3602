"""What a checkpoint knows beside tensors: where the run is, its best epoch, sums of the epoch under way."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Sequence
from typing import Any

import torch

LOSSES = ("loss", "classification_loss", "alignment_loss")
COUNTS = ("steps", "stickers", "seconds", "waiting")


def fresh_state(steps_per_epoch: int, stages: Iterable[str]) -> dict[str, Any]:
    """Of a run that begins; the sums are over all processes.

    Args:
        stages: names of the losses of stages.
    """
    return {
        "epoch": 0,
        "step_in_epoch": 0,
        "step": 0,
        "steps_per_epoch": steps_per_epoch,
        "best_epoch": None,
        "best_accuracy": -1.0,
        "best_loss": math.inf,
        "sums": dict.fromkeys((*LOSSES, *stages, *COUNTS), 0.0),
    }


def continued(state: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """The state of a checkpoint in a run whose batch or data may have been changed, as was allowed.

    The share of the epoch that is done stays.
    """
    steps, before = fresh["steps_per_epoch"], state["steps_per_epoch"]
    done = state["step_in_epoch"] if steps == before else state["step_in_epoch"] * steps // before
    return {
        **state,
        "step_in_epoch": done,
        "step": state["step"] if steps == before else state["epoch"] * steps + done,
        "steps_per_epoch": steps,
        "sums": {**fresh["sums"], **state["sums"]},
    }


def add_step(
    state: dict[str, Any], losses: dict[str, float], *, stickers: int, seconds: float, waiting: float
) -> None:
    """Counts a step that is done.

    Args:
        seconds: since the step before, of which `waiting` for data.
    """
    state["step"] += 1
    state["step_in_epoch"] += 1
    found = {**losses, "steps": 1, "stickers": stickers, "seconds": seconds, "waiting": waiting}
    for name, value in found.items():
        state["sums"][name] += value


def end_epoch(state: dict[str, Any], validation: dict[str, float]) -> bool:
    """Goes on to the next epoch; whether this one is the best so far, by accuracy, then by loss."""
    figures = (validation["accuracy"], -validation["loss"])
    better = figures > (state["best_accuracy"], -state["best_loss"])
    state["epoch"] += 1
    if better:
        state |= {
            "best_epoch": state["epoch"],
            "best_accuracy": validation["accuracy"],
            "best_loss": validation["loss"],
        }
    state["step_in_epoch"] = 0
    state["sums"] = dict.fromkeys(state["sums"], 0.0)
    return better


def stage_losses(alignment_stages: Sequence[bool]) -> dict[str, int]:
    """Name of the alignment loss of every stage that has one, and the stage's place."""
    return {f"alignment_loss_stage{stage + 1}": stage for stage, on in enumerate(alignment_stages) if on}


def loss_values(output: Any, stages: dict[str, int]) -> dict[str, float]:
    """Losses of a step as numbers; 0 where the model has none. One wait for the device."""
    found = [getattr(output, name) for name in LOSSES]
    zero = torch.zeros((), device=output.logits.device)
    row = [zero if value is None else value.detach().double() for value in found]
    parts = output.stage_alignments
    row += [zero if parts is None else parts[stage].double() for stage in stages.values()]
    return dict(zip((*LOSSES, *stages), torch.stack(row).tolist(), strict=True))


def epoch_record(
    sums: dict[str, float],
    *,
    epoch: int,
    step: int,
    rate: float,
    validation: dict[str, float],
    better: bool,
    seconds_validation: float,
    memory_mb: float,
) -> dict[str, Any]:
    """The line of metrics.jsonl: means of the losses over the epoch's steps, validation, speed."""
    return {
        "epoch": epoch,
        "step": step,
        "lr": rate,
        **{name: value / sums["steps"] for name, value in sums.items() if name not in COUNTS},
        **{f"validation_{name}": value for name, value in validation.items()},
        "best": better,
        "stickers_per_second": sums["stickers"] / max(sums["seconds"], 1e-9),
        "seconds": sums["seconds"],
        "seconds_waiting": sums["waiting"],
        "seconds_validation": seconds_validation,
        "memory_mb": memory_mb,
    }


def memory_mb(device: torch.device) -> float:
    """Highest memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
