"""Metrics of the probabilities, not of the first choice alone: scikit-learn's and torchmetrics'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, top_k_accuracy_score

from mghft.train.evaluation.calibration import apply_temperature

# Equal-width bins of the calibration error, the number that papers use.
BINS = 15
_TOP = (2, 3)


@dataclass(frozen=True)
class ProbabilityMetrics:
    """Metrics of one set of probabilities.

    Attributes:
        top_k: accuracy by k, where the true label is among the k most probable; only k below the classes.
        mean_average_precision: macro mean over the classes that occur, each against all others.
        log_loss: mean -log p of the true label, in nats.
        brier: mean squared distance to the true label, summed over the classes: 0 to 2 (two classes: 0 to 1,
            as scikit-learn has it).
        ece, mce: expected and largest calibration error of the most probable label, 15 bins of equal width.
        temperature: fitted on validation; None where validation was not evaluated.
        ece_calibrated, log_loss_calibrated: after that temperature.
    """

    top_k: dict[int, float]
    mean_average_precision: float
    log_loss: float
    brier: float
    ece: float
    mce: float
    temperature: float | None = None
    ece_calibrated: float | None = None
    log_loss_calibrated: float | None = None


def probability_metrics(
    true: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    *,
    temperature: float | None = None,
) -> ProbabilityMetrics:
    """Compute the metrics of one set of probabilities.

    Args:
        true: [n] label indices.
        probabilities: [n, classes], rows sum to 1.
        labels: names in index order.
        temperature: of `fit_temperature` on other stickers.
    """
    numbers = np.arange(len(labels))
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    present = np.isin(numbers, true)
    one_hot = true[:, None] == numbers
    calibrated = None if temperature is None else apply_temperature(probabilities, temperature)
    return ProbabilityMetrics(
        top_k={
            k: float(top_k_accuracy_score(true, probabilities, k=k, labels=numbers))
            for k in _TOP
            if k < len(labels)
        },
        mean_average_precision=float(
            average_precision_score(one_hot[:, present], probabilities[:, present], average="macro")
        ),
        log_loss=_log_loss(true, probabilities),
        brier=float(_brier(true, probabilities)),
        ece=calibration_error(true, probabilities),
        mce=calibration_error(true, probabilities, norm="max"),
        temperature=temperature,
        ece_calibrated=None if calibrated is None else calibration_error(true, calibrated),
        log_loss_calibrated=None if calibrated is None else _log_loss(true, calibrated),
    )


def calibration_error(
    true: NDArray[np.int64], probabilities: NDArray[np.float64], *, norm: Literal["l1", "max"] = "l1"
) -> float:
    """Return the calibration error of the most probable label, over 15 bins of equal width.

    Args:
        true: [n] label indices.
        probabilities: [n, classes].
        norm: l1, the expected error (ECE), or max, the largest of a bin (MCE).
    """
    # Both are heavy, and comparing predictions needs nothing else of them.
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    error = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(true),
        num_classes=probabilities.shape[1],
        n_bins=BINS,
        norm=norm,
    )
    return float(error)


def _log_loss(true: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    return float(log_loss(true, probabilities, labels=np.arange(probabilities.shape[1])))


def _brier(true: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    numbers = np.arange(probabilities.shape[1])
    if len(numbers) == 2:
        return float(brier_score_loss(true, probabilities[:, 1], labels=numbers))
    return float(brier_score_loss(true, probabilities, labels=numbers))
