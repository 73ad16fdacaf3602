"""The optimizer: learning rate by step and parameter groups."""

from __future__ import annotations

import math

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from mghft.model.joint import TunedMGHFT
from mghft.train.options import Schedule


def learning_rate(step: int, schedule: Schedule, *, peak: float, steps_per_epoch: int) -> float:
    """Return the rate of a step: linear warm-up from `warmup_lr`, then a cosine that ends at `min_lr`."""
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return schedule.warmup_lr + (peak - schedule.warmup_lr) * step / warmup
    rest = max(1, schedule.epochs * steps_per_epoch - 1 - warmup)
    share = min(1.0, (step - warmup) / rest)
    return schedule.min_lr + (peak - schedule.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def build_optimizer(
    model: nn.Module, device: torch.device, *, lr: float, weight_decay: float, text_lr_scale: float
) -> torch.optim.AdamW:
    """Return AdamW; no weight decay on biases and other one-dimensional parameters (timm's rule).

    A group's `lr_scale`, where it has one, is its share of the learning rate. On a CPU all is one pass over
    the memory (`fused`). Checkpoints keep their own way, so that a run which goes on stays itself.

    Args:
        device: where the model is going to be.
        text_lr_scale: of a text encoder that is trained along.
    """
    fused = True if device.type == "cpu" else None
    if not isinstance(model, TunedMGHFT):
        return torch.optim.AdamW(param_groups_weight_decay(model, weight_decay), lr=lr, fused=fused)
    groups = param_groups_weight_decay(model.mghft, weight_decay)
    for group in param_groups_weight_decay(model.language, weight_decay):
        groups.append({**group, "lr_scale": text_lr_scale})
    return torch.optim.AdamW(groups, lr=lr, fused=fused)
