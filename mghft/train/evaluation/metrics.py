"""Metrics of predicted labels: accuracy, precision, recall, F1, kappa, MCC, per class, confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import (
    cohen_kappa_score,
    confusion_matrix,
    matthews_corrcoef,
    precision_recall_fscore_support,
)


class ValidationFigures(TypedDict):
    """Figures of an epoch's validation."""

    loss: float
    accuracy: float
    f1_macro: float
    f1_weighted: float


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; `count` of its stickers, and Wilson's 95 % interval of a recall."""

    precision: float
    recall: float
    f1: float
    count: int
    recall_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of one set of predictions.

    Macro means run over the classes that occur: a class without a sticker has no recall. scikit-learn gives
    the same with `labels=` of the occurring classes; its balanced accuracy is the macro recall.

    Attributes:
        count: stickers.
        mcc: Matthews' correlation coefficient for several classes (Gorodkin, 2004); 0 where undefined.
        kappa: Cohen's, between truth and prediction; None where both are one and the same label throughout.
        per_class: by label.
        confusion: [classes, classes] counts, rows are true labels.
    """

    count: int
    accuracy: float
    precision_macro: float
    precision_weighted: float
    recall_macro: float
    recall_weighted: float
    f1_macro: float
    f1_weighted: float
    balanced_accuracy: float
    mcc: float
    kappa: float | None
    per_class: dict[str, ClassMetrics]
    confusion: list[list[int]]


def classification_metrics(
    true: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[str]
) -> ClassificationMetrics:
    """Compute the metrics of one set of predictions.

    Args:
        true: [n] label indices.
        predicted: [n] label indices.
        labels: names in index order.
    """
    numbers = list(range(len(labels)))
    columns = precision_recall_fscore_support(true, predicted, labels=numbers, zero_division=0.0)
    precision, recall, f1, support = (np.asarray(column) for column in columns)
    present = support > 0
    weights = support / max(1, support.sum())

    def macro(column: NDArray[np.float64]) -> float:
        return float(column[present].mean())

    def weighted(column: NDArray[np.float64]) -> float:
        return float((column * weights).sum())

    return ClassificationMetrics(
        count=len(true),
        accuracy=float(np.mean(true == predicted)),
        precision_macro=macro(precision),
        precision_weighted=weighted(precision),
        recall_macro=macro(recall),
        recall_weighted=weighted(recall),
        f1_macro=macro(f1),
        f1_weighted=weighted(f1),
        balanced_accuracy=macro(recall),
        mcc=_mcc(true, predicted),
        kappa=kappa(true, predicted),
        per_class={
            label: ClassMetrics(
                float(precision[i]),
                float(recall[i]),
                float(f1[i]),
                int(support[i]),
                recall_interval=wilson_interval(round(recall[i] * support[i]), int(support[i])),
            )
            for i, label in enumerate(labels)
        },
        confusion=confusion_matrix(true, predicted, labels=numbers).tolist(),
    )


def kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa of two sets of labels, [n] each; None where both are one label throughout."""
    if len(np.union1d(first, second)) == 1:
        return None
    return float(cohen_kappa_score(first, second))


def _mcc(true: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    if len(np.union1d(true, predicted)) == 1:
        return 0.0
    return float(matthews_corrcoef(true, predicted))


def wilson_interval(successes: int, count: int) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a proportion (JASA 22, 1927); None of nothing."""
    if not count:
        return None
    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def validation_figures(
    true: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[str]
) -> ValidationFigures:
    """Compute what an epoch is compared by: loss, accuracy, F1 macro and weighted.

    Args:
        true: [n] label indices.
        probabilities: [n, classes].
        labels: names in index order.

    Returns:
        By name; `loss` is the mean of -log p of the true class.
    """
    metrics = classification_metrics(true, probabilities.argmax(1), labels)
    of_true = probabilities[np.arange(len(probabilities)), true]
    return {
        "loss": float(-np.log(np.clip(of_true, 1e-12, None)).mean()),
        "accuracy": metrics.accuracy,
        "f1_macro": metrics.f1_macro,
        "f1_weighted": metrics.f1_weighted,
    }
