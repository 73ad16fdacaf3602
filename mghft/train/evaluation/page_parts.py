"""Parts of the report's page that are drawn by the browser: forest plot, confusion matrix, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mghft.train.evaluation.calibration import apply_temperature
from mghft.train.evaluation.probability_metrics import BINS
from mghft.train.evaluation.results import SystemMetrics


@dataclass(frozen=True)
class ForestRow:
    """One system in a forest plot; left, right and middle are places from 0 to 1 along the axis."""

    name: str
    value: float
    low: float
    high: float
    left: float
    right: float
    middle: float


def forest_rows(values: Mapping[str, tuple[float, tuple[float, float]]]) -> list[ForestRow]:
    """Return values with their intervals, by name, placed on an axis that holds all of them."""
    least = min(low for _, (low, _) in values.values())
    most = max(high for _, (_, high) in values.values())
    width = (most - least) or 1.0
    return [
        ForestRow(
            name,
            value,
            low,
            high,
            left=(low - least) / width,
            right=(high - least) / width,
            middle=(value - least) / width,
        )
        for name, (value, (low, high)) in values.items()
    ]


def accuracy_forest(systems: Mapping[str, SystemMetrics]) -> list[ForestRow]:
    """Return the accuracies of systems on one set of stickers as rows of a forest plot."""
    return forest_rows({name: (one.accuracy, one.accuracy_interval) for name, one in systems.items()})


@dataclass(frozen=True)
class ConfusionCell:
    """Stickers of one label that were predicted as one label, and their share of the true label."""

    count: int
    share: float


def confusion_rows(confusion: Sequence[Sequence[int]]) -> list[list[ConfusionCell]]:
    """Return counts [classes, classes], rows true, with their shares of the row."""
    return [
        [ConfusionCell(count, count / sum(row) if sum(row) else 0.0) for count in row] for row in confusion
    ]


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence lies in one bin: how sure they are, and how often right."""

    confidence: float
    accuracy: float
    count: int


def reliability(
    true: NDArray[np.int64], probabilities: NDArray[np.float64], temperature: float | None = None
) -> list[ReliabilityBin]:
    """Return the bins that the calibration error is made of, those that hold a prediction.

    Args:
        true: [n] label indices.
        probabilities: [n, classes].
        temperature: applied first, if given.
    """
    if temperature is not None:
        probabilities = apply_temperature(probabilities, temperature)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == true
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        ReliabilityBin(float(confidence[rows].mean()), float(right[rows].mean()), int(rows.sum()))
        for place in range(BINS)
        if (rows := bins == place).any()
    ]
