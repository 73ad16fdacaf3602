"""Statistics of two systems: errors over stickers and seeds, exact tests, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
# Of 5 repetitions of the experiment 4 would show a difference of the size that was asked for.
_POWER = 0.84
_RESAMPLES = 9999


@dataclass(frozen=True)
class ErrorOfTwo:
    """A value with the error that choosing other stickers and training with other seeds would bring.

    The two are independent, so their squares add up; degrees of freedom by Satterthwaite (1946). The error
    over seeds is that of their mean; one seed says nothing of it, and it counts as 0.

    Attributes:
        value: mean over seeds.
        over_stickers: standard error, by bootstrap over groups.
        over_seeds: standard error of the mean over seeds.
        groups: drawn, at least 1.
        seeds: trained, at least 1.
    """

    value: float
    over_stickers: float
    over_seeds: float
    groups: int
    seeds: int

    @property
    def error(self) -> float:
        """Standard error of both."""
        return math.hypot(self.over_stickers, self.over_seeds)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the error."""
        parts = [
            (error**4 / (count - 1))
            for error, count in ((self.over_stickers, self.groups), (self.over_seeds, self.seeds))
            if count > 1
        ]
        total = sum(parts)
        return self.error**4 / total if total > 0 else float(max(1, self.groups - 1))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, by Student's t."""
        width = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error
        return self.value - width, self.value + width

    @property
    def p_value(self) -> float:
        """Probability of a value as far from 0 by chance, by Student's t."""
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))

    def stickers_needed(self, stickers: int) -> int | None:
        """Return how many stickers would show this value 4 times of 5, to two digits; None: no number.

        The error over stickers shrinks with the root of their number, that over seeds does not.
        """
        if self.value == 0:
            return None
        width = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) + _POWER
        allowed = (self.value / width) ** 2 - self.over_seeds**2
        if allowed <= 0:
            return None
        exact = stickers * self.over_stickers**2 / allowed
        digits = 10 ** max(0, math.floor(math.log10(max(1.0, exact))) - 1)
        return int(math.ceil(exact / digits) * digits)


def error_of_two(drawn: NDArray[np.float64], by_seed: NDArray[np.float64], groups: int) -> ErrorOfTwo:
    """Return the mean over seeds with its errors.

    Args:
        drawn: [rounds], the mean over seeds in draws of the groups.
        by_seed: [seeds], on all stickers.
        groups: how many were drawn from.
    """
    # Draws of G groups vary by (G - 1) / G less than new groups would.
    over_stickers = float(drawn.std()) * math.sqrt(groups / max(1, groups - 1))
    seeds = len(by_seed)
    over_seeds = float(by_seed.std(ddof=1)) / math.sqrt(seeds) if seeds > 1 else 0.0
    return ErrorOfTwo(float(by_seed.mean()), over_stickers, over_seeds, groups, seeds)


def seed_interval(by_seed: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean over seeds by Student's t; None with fewer than three of them."""
    if len(by_seed) < 3:
        return None
    width = stats.t.ppf((1 + LEVEL) / 2, len(by_seed) - 1) * np.std(by_seed, ddof=1) / math.sqrt(len(by_seed))
    mean = float(np.mean(by_seed))
    return mean - float(width), mean + float(width)


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Return the exact two-sided p value of McNemar's test (Psychometrika 12, 1947).

    Args:
        first_alone: stickers that the first system alone gets right.
        second_alone: that the second alone gets right.
    """
    if not first_alone + second_alone:
        return 1.0
    return float(stats.binomtest(first_alone, first_alone + second_alone, 0.5).pvalue)


def sign_flip(differences: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int) -> float:
    """Return the p value of a permutation test that exchanges the systems group by group.

    With every sticker alone and one seed this is McNemar's test: both exchange the stickers that differ.

    Args:
        differences: [n], first minus second, of each sticker.
        groups: [n] numbers.
        seed: of the permutations; all are taken where there are few.
    """
    sums = np.bincount(groups, weights=differences)
    sums = sums[sums != 0]
    if len(sums) < 2:
        return 1.0
    found = stats.permutation_test(
        (sums,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values after Holm's correction (Scand. J. Statistics 6, 1979), in their order.

    scipy has corrections of the false discovery rate alone; this one holds the chance of a single false
    winner.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted
