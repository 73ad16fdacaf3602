"""Learning rate by step, parameter groups and the running mean of the weights."""

from __future__ import annotations

import math

import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from mghft.model.joint import TunedMGHFT
from mghft.train.config import TrainConfig


def learning_rate(step: int, *, config: TrainConfig, peak: float, steps_per_epoch: int) -> float:
    """Linear warm-up from `warmup_lr`, then a cosine down to `min_lr` at the last step."""
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return config.warmup_lr + (peak - config.warmup_lr) * step / warmup
    rest = max(1, config.epochs * steps_per_epoch - 1 - warmup)
    share = min(1.0, (step - warmup) / rest)
    return config.min_lr + (peak - config.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def build_optimizer(model: nn.Module, config: TrainConfig, peak: float) -> torch.optim.AdamW:
    """AdamW; no weight decay on biases and other one-dimensional parameters (timm's rule).

    A group's `lr_scale`, where it has one, is its share of the learning rate.
    """
    if not isinstance(model, TunedMGHFT):
        return torch.optim.AdamW(param_groups_weight_decay(model, config.weight_decay), lr=peak)
    groups = param_groups_weight_decay(model.mghft, config.weight_decay)
    for group in param_groups_weight_decay(model.language, config.weight_decay):
        groups.append({**group, "lr_scale": config.text_lr_scale})
    return torch.optim.AdamW(groups, lr=peak)
