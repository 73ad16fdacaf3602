"""The classification loss for unequal classes; with none of its options the model's own stays as it is.

The whole loss has its home in the model, which adds the alignment; only its classification part is exchanged.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mghft.train.imbalance import Imbalance


def class_loss(
    imbalance: Imbalance, counts: NDArray[np.int64], *, label_smoothing: float
) -> Criterion | None:
    """Return the classification loss that the options ask for, None where the model's own stays.

    Args:
        counts: [classes] stickers of the training split.
    """
    if imbalance.loss == "cross_entropy" and imbalance.class_weights == "none":
        return None
    return Criterion(imbalance, counts, label_smoothing=label_smoothing)


def class_counts(labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the number of stickers of every class, [classes]."""
    return np.bincount(labels, minlength=classes).astype(np.int64)


def class_weights(counts: NDArray[np.int64], imbalance: Imbalance) -> Tensor | None:
    """Return [classes] float32 weights, None for none; a class without stickers has the weight 0.

    balanced: n / (k · n_c) over the k classes that occur, as `compute_class_weight` of scikit-learn.
    effective: (1 - β) / (1 - β^n_c), scaled to the sum k (Cui et al., Class-Balanced Loss Based on Effective
    Number of Samples, CVPR 2019).
    """
    if imbalance.class_weights == "none":
        return None
    present = counts > 0
    sizes = counts[present].astype(np.float64)
    if imbalance.class_weights == "balanced":
        values = sizes.sum() / (len(sizes) * sizes)
    else:
        beta = imbalance.effective_beta
        values = (1 - beta) / (1 - beta**sizes)
        values *= len(sizes) / values.sum()
    weights = np.zeros(len(counts))
    weights[present] = values
    return torch.tensor(weights, dtype=torch.float32)


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean of -w (1 - p)^γ log p, p that of the true class (Lin et al., Focal Loss, ICCV 2017).

    Over the softmax, since a sticker has one emotion (torchvision's is for independent sigmoids). With
    weights (α in the paper) the mean is a weighted one, as in `cross_entropy`.
    """
    log_p = logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    # 1 - p, kept above 0: the slope of a power below 1 has no value there.
    missed = (-torch.expm1(log_p)).clamp(min=1e-12)
    losses = -(missed**gamma) * log_p
    if weights is None:
        return losses.mean()
    return (weights[labels] * losses).sum() / total_weight(weights, labels)


def total_weight(weights: Tensor, labels: Tensor) -> Tensor:
    """Return the divisor of a weighted mean; with several processes that of all, divided evenly.

    The average of the processes' gradients is then that of one process with the whole batch.
    """
    total = weights[labels].sum()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        total /= dist.get_world_size()
    return total


class Criterion:
    """A classification loss for unequal classes, in place of the model's own; called by the model."""

    def __init__(self, imbalance: Imbalance, counts: NDArray[np.int64], *, label_smoothing: float) -> None:
        """
        Args:
            counts: [classes] stickers of the training split.
        """
        self._imbalance = imbalance
        self._weights = class_weights(counts, imbalance)
        # A class without stickers counts as one with a single one: log 0 would make the loss infinite.
        share = np.maximum(counts, 1) / max(1, counts.sum())
        self._log_prior = torch.tensor(np.log(share), dtype=torch.float32)
        self._label_smoothing = label_smoothing

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of [B, classes] logits, at least in float32.

        logit_adjusted: cross-entropy of logits + τ · log prior; at prediction the bare logits are taken,
        which then favour no class for its size (Menon et al., Long-tail Learning via Logit Adjustment, ICLR
        2021).
        """
        wide = logits if logits.dtype == torch.float64 else logits.float()
        weights = None if self._weights is None else self._weights.to(wide.device, wide.dtype)
        if self._imbalance.loss == "focal":
            return focal_loss(wide, labels, gamma=self._imbalance.focal_gamma, weights=weights)
        if self._imbalance.loss == "logit_adjusted":
            wide = wide + self._imbalance.logit_tau * self._log_prior.to(wide.device, wide.dtype)
        if weights is None:
            return F.cross_entropy(wide, labels, label_smoothing=self._label_smoothing)
        losses = F.cross_entropy(
            wide, labels, weight=weights, label_smoothing=self._label_smoothing, reduction="sum"
        )
        return losses / total_weight(weights, labels)
