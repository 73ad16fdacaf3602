"""Two systems on the same stickers: the difference with its error, a test, and a verdict in words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mghft.train.comparison.results import Pair
from mghft.train.comparison.statistics import ErrorOfTwo, error_of_two, mcnemar, sign_flip
from mghft.train.comparison.systems import ComparedSystems
from mghft.train.evaluation.bootstrap import drawn_metric

_NAMES = {"accuracy": "accuracy", "f1_macro": "macro F1"}


def compare_pair(
    systems: ComparedSystems,
    first: str,
    second: str,
    metric: str,
    groups: NDArray[np.int64],
    draws: NDArray[np.uint16],
    seed: int,
) -> Pair:
    """Compare two systems; Holm's correction and the words need all pairs and are filled in later.

    Args:
        systems: holding both.
        metric: accuracy or f1_macro.
        groups: [n] numbers.
        draws: [rounds, n] of `draw_groups`.
        seed: of the permutations.
    """
    paired = systems.seeds[first] == systems.seeds[second]
    error = _error(systems, first, second, metric, groups, draws, paired=paired)
    right = {name: systems.predicted(name) == systems.true for name in (first, second)}
    if not paired:
        right = {name: rows.mean(axis=0)[None] > 0.5 for name, rows in right.items()}
    first_alone = (right[first] & ~right[second]).sum(axis=1)
    second_alone = (right[second] & ~right[first]).sum(axis=1)
    exact = [mcnemar(int(a), int(b)) for a, b in zip(first_alone, second_alone, strict=True)]
    one_seed = len(systems.seeds[first]) == len(systems.seeds[second]) == 1
    if metric == "accuracy" and one_seed and len(groups) == int(groups.max()) + 1:
        p_value, test = exact[0], "McNemar, exact"
    elif metric == "accuracy" and one_seed:
        differences = right[first][0].astype(float) - right[second][0]
        p_value, test = sign_flip(differences, groups, seed=seed), "permutation by groups"
    else:
        p_value, test = error.p_value, "Student's t, stickers and seeds"
    return Pair(
        first=first,
        second=second,
        metric=metric,
        value=error.value,
        interval=error.interval,
        p_value=p_value,
        p_holm=p_value,
        test=test,
        first_alone=first_alone.tolist(),
        second_alone=second_alone.tolist(),
        mcnemar=exact,
        stickers_needed=error.stickers_needed(len(systems.ids)),
        told_apart=False,
        words="",
    )


def _error(
    systems: ComparedSystems,
    first: str,
    second: str,
    metric: str,
    groups: NDArray[np.int64],
    draws: NDArray[np.uint16],
    *,
    paired: bool,
) -> ErrorOfTwo:
    """Return the difference with its errors; seeds are paired where both have the same."""
    once = np.ones((1, len(systems.true)), dtype=np.uint16)
    drawn, by_seed = {}, {}
    for name in (first, second):
        predicted = systems.predicted(name)
        drawn[name] = drawn_metric(metric, predicted, systems.true, draws)
        by_seed[name] = np.array(
            [drawn_metric(metric, row[None], systems.true, once)[0] for row in predicted]
        )
    difference = drawn[first] - drawn[second]
    count = int(groups.max()) + 1
    if paired:
        return error_of_two(difference, by_seed[first] - by_seed[second], count)
    one = error_of_two(difference, by_seed[first], count)
    other = error_of_two(difference, by_seed[second], count)
    # Trainings with other seeds know nothing of each other: their errors add up, with the fewer seeds'
    # freedom.
    trained = [error.seeds for error in (one, other) if error.seeds > 1]
    return replace(
        one,
        value=one.value - other.value,
        over_seeds=math.hypot(one.over_seeds, other.over_seeds),
        seeds=min(trained, default=1),
    )


def with_words(pair: Pair, *, stickers: int, pairs: int) -> Pair:
    """Return the pair with its verdict.

    Args:
        pair: after Holm's correction.
        stickers: on which the two were compared.
        pairs: over which was corrected.
    """
    low, high = pair.interval
    points = (
        f"{100 * pair.value:+.1f} points of {_NAMES[pair.metric]} ({100 * low:+.1f} to {100 * high:+.1f})"
    )
    chance = f"p {p_text(pair.p_holm)}" + (
        f" after Holm's correction over {pairs} pairs" if pairs > 1 else ""
    )
    if pair.told_apart:
        better, worse = (pair.first, pair.second) if pair.value > 0 else (pair.second, pair.first)
        return replace(pair, words=f"{better} is better than {worse}: {points}, {chance}")
    said = f"{pair.first} and {pair.second} cannot be told apart: {points}, {chance}"
    if pair.value == 0:
        return replace(pair, words=said)
    if pair.stickers_needed is None:
        return replace(pair, words=f"{said}; the seeds alone vary by more, so more seeds are needed first")
    if pair.stickers_needed > stickers:
        said += f"; about {pair.stickers_needed:,} stickers would show this difference 4 times of 5"
    return replace(pair, words=said)


def p_text(value: float) -> str:
    """Return a p value as people write it: "= .034" or "< .001"."""
    return "< .001" if value < 0.001 else f"= {value:.3f}".replace(" 0.", " .")
