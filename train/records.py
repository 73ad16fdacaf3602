"""What is summed up over an epoch, and the line of metrics.jsonl that comes of it."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from typing import Any

import torch

LOSSES = ("loss", "classification_loss", "alignment_loss")
COUNTS = ("steps", "stickers", "seconds", "waiting")


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
