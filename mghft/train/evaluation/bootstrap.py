"""Uncertainty of accuracies: bootstrap intervals over stickers or groups of them, differences of systems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ROUNDS = 2000
LEVEL = 0.95
# Of 5 repetitions of the experiment 4 would show a difference of the size that was asked for.
_POWER = 0.84
_CHUNK = 4_000_000
# Less than half a point is no difference that anybody would plan an experiment for.
MIN_DIFFERENCE = 0.005


@dataclass(frozen=True)
class Estimate:
    """A metric with its bootstrap interval (percentiles)."""

    value: float
    interval: tuple[float, float]


def group_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Return [n] numbers, equal for equal groups; whoever has none is a group of its own."""
    names = [f"alone {row}" if group is None else f"group {group}" for row, group in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


# Groups are drawn here and not by scipy.stats.bootstrap: it knows no groups, and one set of draws, as counts,
# serves every measure, view and run by matrix products.
def draw_groups(groups: NDArray[np.int64], seed: int, rounds: int = ROUNDS) -> NDArray[np.uint16]:
    """Draw groups with replacement, as many as there are, each with all of its stickers.

    Args:
        groups: [n] group of every sticker.
        seed: of the draws.
        rounds: number of draws.

    Returns:
        [rounds, n], how often each sticker is in each draw.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=rounds)
    return drawn.astype(np.uint16)[:, numbers]


def accuracy_and_f1(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], draws: NDArray[np.uint16]
) -> tuple[Estimate, Estimate]:
    """Estimate accuracy and macro F1, mean over repeats, with intervals by drawing groups with replacement.

    The intervals hold the trained probes fixed: they say how much the choice of the stickers to predict moves
    the metric, not how much other stickers to learn from would.

    Args:
        predicted: [R, n] labels of R repeats.
        labels: [n].
        draws: of `draw_groups`.
    """
    once = np.ones((1, len(labels)), dtype=np.uint16)
    estimates = []
    for metric in ("accuracy", "f1_macro"):
        drawn = drawn_metric(metric, predicted, labels, draws)
        value = float(drawn_metric(metric, predicted, labels, once)[0])
        estimates.append(Estimate(value, percentiles(drawn)))
    return estimates[0], estimates[1]


def drawn_metric(
    metric: str, predicted: NDArray[np.int64], labels: NDArray[np.int64], draws: NDArray[np.uint16]
) -> NDArray[np.float64]:
    """Return accuracy or f1_macro, mean over repeats, in each draw, [rounds].

    Args:
        metric: which of the two.
        predicted: [R, n] labels of R repeats.
        labels: [n].
        draws: [rounds, n] of `draw_groups`.
    """
    measure = {"accuracy": _accuracy, "f1_macro": _f1}[metric]
    return np.concatenate([measure(weights, predicted, labels) for weights in _chunks(draws)])


def drawn_means(values: NDArray[np.float64], draws: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Return the mean of [n] values in each draw of `draw_groups`, [rounds]."""
    return np.concatenate([weights @ values / weights.sum(axis=1) for weights in _chunks(draws)])


def percentiles(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of [rounds] drawn values (Efron, 1979)."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """First system minus second, on the same stickers.

    Attributes:
        first, second: indices of the systems.
        value: difference of the accuracies.
        interval: all intervals of one call hold together at 95 %, so that many prompts bring no false winner.
        detectable: the smallest difference that this many stickers would show 4 times of 5.
        needed: stickers that would show `value` 4 times of 5; None where `value` is next to nothing.
    """

    first: int
    second: int
    value: float
    interval: tuple[float, float]
    detectable: float
    needed: int | None

    @property
    def significant(self) -> bool:
        """True where the interval leaves 0 out."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_differences(
    right: NDArray[np.float64], groups: NDArray[np.int64], draws: NDArray[np.uint16]
) -> list[Difference]:
    """Compare every pair of systems sticker by sticker.

    The intervals are bootstrap intervals whose width is set by the largest studentised deviation over all
    pairs (Westfall and Young, 1993); with few groups at least by Student's t.

    Args:
        right: [P, n] share of repeats in which the system was right about the sticker.
        groups: [n].
        draws: of `draw_groups` with these groups.
    """
    pairs = list(itertools.combinations(range(len(right)), 2))
    if not pairs:
        return []
    differences = np.stack([right[first] - right[second] for first, second in pairs])
    values = differences.mean(axis=1)
    drawn = np.concatenate([w @ differences.T / w.sum(1, keepdims=True) for w in _chunks(draws)])
    count = len(np.unique(groups))
    # Draws of G groups vary by (G - 1) / G less than new groups would.
    errors = drawn.std(axis=0) * math.sqrt(count / max(1, count - 1))
    deviation = np.divide(np.abs(drawn - values), errors, out=np.zeros_like(drawn), where=errors > 0)
    student = float(stats.t.ppf((1 + LEVEL) / 2, max(1, count - 1)))
    width = max(float(np.quantile(deviation.max(axis=1), LEVEL)), student)
    found = []
    for (first, second), value, error in zip(pairs, values.tolist(), errors.tolist(), strict=True):
        detectable = (width + _POWER) * error
        interval = (value - width * error, value + width * error)
        needed = _needed(right.shape[1], detectable, value)
        found.append(Difference(first, second, value, interval, detectable, needed))
    return found


def _needed(count: int, detectable: float, value: float) -> int | None:
    """Stickers for a difference of `value`, to two digits: errors shrink with the root of their number."""
    if abs(value) < MIN_DIFFERENCE:
        return None
    exact = count * (detectable / abs(value)) ** 2
    digits = int(10 ** max(0, math.floor(math.log10(max(1.0, exact))) - 1))
    return math.ceil(exact / digits) * digits


def _chunks(draws: NDArray[np.uint16]) -> Iterator[NDArray[np.float64]]:
    """Return the draws as floating point numbers, in chunks that fit into memory."""
    step = max(1, _CHUNK // draws.shape[1])
    for start in range(0, len(draws), step):
        yield draws[start : start + step].astype(np.float64)


def _accuracy(
    weights: NDArray[np.float64], predicted: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    right = (predicted == labels).mean(axis=0)
    result: NDArray[np.float64] = weights @ right / weights.sum(axis=1)
    return result


def _f1(
    weights: NDArray[np.float64], predicted: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean over the labels that are in the draw, then over repeats."""
    kinds = np.unique(labels)
    true = (labels[:, None] == kinds).astype(np.float64)
    support = weights @ true
    present = support > 0
    total = np.zeros(len(weights))
    for row in predicted:
        guessed = (row[:, None] == kinds).astype(np.float64)
        both = support + weights @ guessed
        f1 = np.divide(2 * (weights @ (true * guessed)), both, out=np.zeros_like(both), where=both > 0)
        total += (f1 * present).sum(axis=1) / present.sum(axis=1)
    return total / len(predicted)
