"""Accuracy, precision, recall and F1 of predictions: macro, weighted, per class; and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


class ValidationFigures(TypedDict):
    """Figures of an epoch's validation."""

    loss: float
    accuracy: float
    f1_macro: float
    f1_weighted: float


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; `count` of its stickers."""

    precision: float
    recall: float
    f1: float
    count: int


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of one set of predictions.

    Macro means run over the classes that occur: a class without a sticker has no recall.

    Attributes:
        count: stickers.
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
        per_class={
            label: ClassMetrics(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, label in enumerate(labels)
        },
        confusion=confusion_matrix(true, predicted, labels=numbers).tolist(),
    )


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
