"""Accuracy, precision, recall and F1 of predictions: macro, weighted, per class; and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


class ValidationFigures(TypedDict):
    """Figures of an epoch's validation."""

    loss: float
    accuracy: float
    f1_macro: float
    f1_weighted: float


def classification_metrics(
    true: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[str]
) -> dict[str, Any]:
    """Figures of one set of predictions.

    Args:
        true: [n] label indices.
        predicted: [n] label indices.
        labels: names in index order.

    Returns:
        count, accuracy, {precision, recall, f1}_{macro, weighted}, per_class, confusion (rows: true).
        Macro means run over the classes that occur in `true`: a class without a sticker has no recall.
    """
    numbers = list(range(len(labels)))
    figures = precision_recall_fscore_support(true, predicted, labels=numbers, zero_division=0.0)
    precision, recall, f1, support = (np.asarray(column) for column in figures)
    present = support > 0
    weights = support / max(1, support.sum())
    result: dict[str, Any] = {"count": len(true), "accuracy": float(np.mean(true == predicted))}
    for name, column in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[f"{name}_macro"] = float(column[present].mean())
        result[f"{name}_weighted"] = float((column * weights).sum())
    result["per_class"] = {
        label: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "count": int(support[i]),
        }
        for i, label in enumerate(labels)
    }
    result["confusion"] = confusion_matrix(true, predicted, labels=numbers).tolist()
    return result


def validation_figures(
    true: NDArray[np.int64], probabilities: NDArray[np.float64], labels: Sequence[str]
) -> ValidationFigures:
    """What an epoch is judged by: loss (mean of -log p of the right class), accuracy, F1 macro and weighted.

    Args:
        true: [n] label indices.
        probabilities: [n, classes].
    """
    figures = classification_metrics(true, probabilities.argmax(1), labels)
    chosen = probabilities[np.arange(len(probabilities)), true]
    loss = float(-np.log(np.clip(chosen, 1e-12, None)).mean())
    return {
        "loss": loss,
        "accuracy": figures["accuracy"],
        "f1_macro": figures["f1_macro"],
        "f1_weighted": figures["f1_weighted"],
    }


def bootstrap_interval(
    values: NDArray[np.floating[Any]], *, seed: int = 0, rounds: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` [n], by drawing stickers with replacement."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), size=(rounds, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
