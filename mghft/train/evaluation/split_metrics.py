"""Metrics of every system on a split and its subsets, with intervals over groups of alike stickers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.corpora.sticker import alike
from mghft.train.data.splits import Split
from mghft.train.evaluation.bootstrap import (
    accuracy_and_f1,
    draw_groups,
    drawn_means,
    group_numbers,
    percentiles,
)
from mghft.train.evaluation.metrics import classification_metrics
from mghft.train.evaluation.probability_metrics import probability_metrics
from mghft.train.evaluation.results import SOURCE, WHOLE, AccuracyGain, SystemMetrics

# [n, classes] in the order of a split.
Probabilities = NDArray[np.float64]


def evaluate_split(
    split: Split,
    systems: Mapping[str, Probabilities],
    labels: Sequence[str],
    *,
    seed: int,
    rounds: int,
    temperatures: Mapping[str, float] | None = None,
) -> dict[str, dict[str, SystemMetrics]]:
    """Compute the metrics of every system on the whole split ("all") and on each subset of it.

    Args:
        split: whose labels are the truth.
        systems: [n, classes] probabilities by system.
        labels: names in index order.
        seed, rounds: of the bootstrap.
        temperatures: by system, where they were fitted.

    Returns:
        By subset and system.
    """
    groups = group_numbers(alike(split.stickers))
    found: dict[str, dict[str, SystemMetrics]] = {}
    for subset, rows in subset_rows(split).items():
        draws = draw_groups(groups[rows], seed, rounds)
        found[subset] = {
            system: system_metrics(
                split.labels[rows],
                probabilities[rows],
                labels,
                draws=draws,
                temperature=None if temperatures is None else temperatures.get(system),
            )
            for system, probabilities in systems.items()
        }
    return found


def system_metrics(
    true: NDArray[np.int64],
    probabilities: Probabilities,
    labels: Sequence[str],
    *,
    draws: NDArray[np.uint16],
    temperature: float | None = None,
) -> SystemMetrics:
    """Compute the metrics of one system on one set of stickers.

    Args:
        true: [n] label indices.
        probabilities: [n, classes].
        labels: names in index order.
        draws: [rounds, n] of `draw_groups`.
        temperature: fitted on validation.
    """
    predicted = probabilities.argmax(1)
    accuracy, f1 = accuracy_and_f1(predicted[None], true, draws)
    return SystemMetrics(
        **vars(classification_metrics(true, predicted, labels)),
        accuracy_interval=accuracy.interval,
        f1_macro_interval=f1.interval,
        probabilities=probability_metrics(true, probabilities, labels, temperature=temperature),
    )


def accuracy_gains(
    split: Split, systems: Mapping[str, Probabilities], main: str, *, seed: int, rounds: int
) -> dict[str, dict[str, AccuracyGain]]:
    """Compare the main system with each other on the whole split ("all") and on each subset of it.

    Args:
        split: whose labels are the truth.
        systems: [n, classes] probabilities by system.
        main: the system to compare with all others.
        seed, rounds: of the bootstrap.

    Returns:
        By subset and other system.
    """
    right = {system: (rows.argmax(1) == split.labels).astype(float) for system, rows in systems.items()}
    groups = group_numbers(alike(split.stickers))
    found: dict[str, dict[str, AccuracyGain]] = {}
    for subset, rows in subset_rows(split).items():
        draws = draw_groups(groups[rows], seed, rounds)
        found[subset] = {}
        for other in systems:
            if other != main:
                gain = (right[main] - right[other])[rows]
                interval = percentiles(drawn_means(gain, draws))
                found[subset][other] = AccuracyGain(float(gain.mean()), interval)
    return found


def subset_rows(split: Split) -> dict[str, NDArray[np.bool_]]:
    """Return which rows, [n] bool, are the whole split, every subset of it, and labels of every source."""
    found = {WHOLE: np.ones(len(split.stickers), dtype=np.bool_)}
    sources = [
        f"{SOURCE}{sticker.label_source}" if sticker.label_source else "" for sticker in split.stickers
    ]
    for names in ([sticker.subset or "" for sticker in split.stickers], sources):
        values = np.array(names)
        found |= {name: values == name for name in sorted(set(names) - {""})}
    return found
