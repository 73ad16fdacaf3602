"""The optimizer: learning rate by step and parameter groups."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from mghft.model.joint import TunedMGHFT
from mghft.train.options import Schedule


def learning_rate(step: int, schedule: Schedule, *, peak: float, steps_per_epoch: int) -> float:
    """Return the rate of a step: linear warm-up from `warmup_lr`, then a cosine that ends at `min_lr`.

    By epochs it is the released code's: constant within an epoch, one epoch late, the cosine over all epochs
    with the warm-up cut out of it (timm's scheduler, told of an epoch at its end).
    """
    if schedule.lr_changes == "epoch":
        return _rate_of_epoch(max(step // steps_per_epoch - 1, 0), schedule, peak)
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return schedule.warmup_lr + (peak - schedule.warmup_lr) * step / warmup
    rest = max(1, schedule.epochs * steps_per_epoch - 1 - warmup)
    share = min(1.0, (step - warmup) / rest)
    return schedule.min_lr + (peak - schedule.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def _rate_of_epoch(epoch: int, schedule: Schedule, peak: float) -> float:
    if epoch < schedule.warmup_epochs:
        return schedule.warmup_lr + (peak - schedule.warmup_lr) * epoch / schedule.warmup_epochs
    share = min(1.0, epoch / schedule.epochs)
    return schedule.min_lr + (peak - schedule.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def build_optimizer(
    model: nn.Module,
    device: torch.device,
    *,
    lr: float,
    weight_decay: float,
    text_lr_scale: float,
    backbone_lr_scale: float = 1.0,
) -> torch.optim.AdamW:
    """Return AdamW; no weight decay on biases and other one-dimensional parameters (timm's rule).

    A group's `lr_scale`, where it has one, is its share of the learning rate. On a CPU all is one pass over
    the memory (`fused`). Checkpoints keep their own way, so that a run which goes on stays itself.

    Args:
        device: where the model is going to be.
        text_lr_scale: of a text encoder that is trained along.
        backbone_lr_scale: of MGHFT's backbone; at 1 it shares the groups of all else, in their order, which
            is how checkpoints of before have them.
    """
    fused = True if device.type == "cpu" else None
    mghft = model.mghft if isinstance(model, TunedMGHFT) else model
    if backbone_lr_scale == 1.0:
        groups = param_groups_weight_decay(mghft, weight_decay)
    else:
        groups = _groups_by_backbone(mghft, weight_decay, backbone_lr_scale)
    if isinstance(model, TunedMGHFT) and not model.frozen:
        for group in param_groups_weight_decay(model.language, weight_decay):
            groups.append({**group, "lr_scale": text_lr_scale})
    return torch.optim.AdamW(groups, lr=lr, fused=fused)


def _groups_by_backbone(
    mghft: nn.Module, weight_decay: float, backbone_lr_scale: float
) -> list[dict[str, Any]]:
    """Return timm's groups of all but the backbone, then those of the backbone."""
    backbone = {id(parameter) for parameter in mghft.get_submodule("backbone").parameters()}
    rest: list[dict[str, Any]] = []
    slow: list[dict[str, Any]] = []
    for group in param_groups_weight_decay(mghft, weight_decay):
        inside = [parameter for parameter in group["params"] if id(parameter) in backbone]
        outside = [parameter for parameter in group["params"] if id(parameter) not in backbone]
        rest.append({**group, "params": outside})
        slow.append({**group, "params": inside, "lr_scale": backbone_lr_scale})
    return [*rest, *slow]
