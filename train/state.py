"""What a checkpoint knows beside tensors: where the run is, its best epoch, sums of the epoch under way."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from train.records import COUNTS, LOSSES


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
