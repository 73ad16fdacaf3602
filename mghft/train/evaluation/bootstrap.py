"""How sure a figure is: bootstrap intervals over groups of stickers, and differences of paired systems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
LEVEL = 0.95
# Of 5 repetitions of the experiment 4 would show a difference of the size that was asked for.
_POWER = 0.84
_CHUNK = 4_000_000
# Less than half a point is no difference that anybody would plan an experiment for.
WORTH = 0.005


@dataclass(frozen=True)
class Figure:
    """A figure with its bootstrap interval (percentiles)."""

    value: float
    interval: tuple[float, float]


def draw_groups(groups: NDArray[np.int64], seed: int) -> NDArray[np.uint16]:
    """Bootstrap draws: how often each sticker is in each draw, [ROUNDS, n].

    Args:
        groups: [n]; a draw takes as many groups as there are, with replacement, each with its stickers.
        seed: of the draws.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=ROUNDS)
    return drawn.astype(np.uint16)[:, numbers]


def accuracy_and_f1(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], draws: NDArray[np.uint16]
) -> tuple[Figure, Figure]:
    """Accuracy and macro F1, mean over repeats, with intervals by drawing groups with replacement.

    The intervals hold the trained probes fixed: they say how much the choice of the stickers to judge moves
    the figure, not how much other stickers to learn from would.

    Args:
        predicted: [R, n].
        labels: [n].
        draws: of `draw_groups`.
    """
    once = np.ones((1, len(labels)))
    figures = []
    for measure in (_accuracy, _f1):
        drawn = np.concatenate([measure(weights, predicted, labels) for weights in _pieces(draws)])
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        figures.append(Figure(float(measure(once, predicted, labels)[0]), (float(low), float(high))))
    return figures[0], figures[1]


@dataclass(frozen=True)
class Difference:
    """First system minus second, on the same stickers.

    Attributes:
        first, second: indices of the systems.
        value: difference of the accuracies.
        interval: all intervals of one call hold together at 95 %, so that many prompts bring no false winner.
        shows: the smallest difference that this many stickers would show 4 times of 5.
        needed: stickers that would show `value` 4 times of 5; None where `value` is next to nothing.
    """

    first: int
    second: int
    value: float
    interval: tuple[float, float]
    shows: float
    needed: int | None

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval[0] > 0 or self.interval[1] < 0


def paired_differences(
    right: NDArray[np.float64], groups: NDArray[np.int64], draws: NDArray[np.uint16]
) -> list[Difference]:
    """Every pair of systems compared sticker by sticker.

    The intervals are bootstrap intervals whose width is set by the largest studentised deviation over all
    pairs; with few groups at least by Student's t.

    Args:
        right: [P, n] share of repeats in which the system was right about the sticker.
        groups: [n].
        draws: of `draw_groups` with these groups.
    """
    pairs = list(itertools.combinations(range(len(right)), 2))
    if not pairs:
        return []
    gaps = np.stack([right[first] - right[second] for first, second in pairs])
    value = gaps.mean(axis=1)
    drawn = np.concatenate([w @ gaps.T / w.sum(1, keepdims=True) for w in _pieces(draws)])
    count = len(np.unique(groups))
    # Draws of G groups vary by (G - 1) / G less than new groups would.
    error = drawn.std(axis=0) * math.sqrt(count / max(1, count - 1))
    deviation = np.divide(np.abs(drawn - value), error, out=np.zeros_like(drawn), where=error > 0)
    width = max(float(np.quantile(deviation.max(axis=1), LEVEL)), _student(max(1, count - 1)))
    found = []
    for (first, second), gap, spread in zip(pairs, value.tolist(), error.tolist(), strict=True):
        shows = (width + _POWER) * spread
        interval = (gap - width * spread, gap + width * spread)
        needed = _needed(right.shape[1], shows, gap)
        found.append(Difference(first, second, gap, interval, shows, needed))
    return found


def _student(freedom: int) -> float:
    """Student's t at 97.5 %, by Fisher's expansion: 2.73 for 4 degrees (exact 2.78), 1.98 for 100."""
    z = 1.96
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _needed(count: int, shows: float, value: float) -> int | None:
    """Stickers for a difference of `value`, to two digits: errors shrink with the root of their number."""
    if abs(value) < WORTH:
        return None
    exact = count * (shows / abs(value)) ** 2
    digits = int(10 ** max(0, math.floor(math.log10(max(1.0, exact))) - 1))
    return math.ceil(exact / digits) * digits


def _pieces(draws: NDArray[np.uint16]) -> Iterator[NDArray[np.float64]]:
    """The draws as floating point numbers, in pieces that fit into memory."""
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
    there = support > 0
    total = np.zeros(len(weights))
    for row in predicted:
        said = (row[:, None] == kinds).astype(np.float64)
        both = support + weights @ said
        f1 = np.divide(2 * (weights @ (true * said)), both, out=np.zeros_like(both), where=both > 0)
        total += (f1 * there).sum(axis=1) / there.sum(axis=1)
    return total / len(predicted)
