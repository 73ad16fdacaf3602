"""Errors over stickers and seeds, exact tests and Holm's correction, against values from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mghft.train.comparison.statistics import (
    ErrorOfTwo,
    error_of_two,
    holm,
    mcnemar,
    seed_interval,
    sign_flip,
)
from mghft.train.evaluation.bootstrap import draw_groups, drawn_means


def test_mcnemar_by_hand() -> None:
    # 2 * (C(10,0) + C(10,1) + C(10,2)) / 2^10
    assert mcnemar(2, 8) == mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(5, 5) == 1 and mcnemar(0, 0) == 1
    assert mcnemar(0, 6) == pytest.approx(2 / 64)


def test_flipping_signs_of_single_stickers_is_mcnemar() -> None:
    differences = np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 40)
    assert sign_flip(differences, np.arange(50), seed=0) == pytest.approx(mcnemar(8, 2))


def test_groups_that_move_together_count_once() -> None:
    differences = np.repeat([1.0, 1.0, 1.0, -1.0], 10)
    alone = sign_flip(differences, np.arange(40), seed=0)
    together = sign_flip(differences, np.repeat(np.arange(4), 10), seed=0)
    assert alone < 0.01 < 0.5 < together
    # Of the 16 ways, |sum| >= 2 in 10.
    assert together == pytest.approx(10 / 16)


@pytest.mark.parametrize("differences", [[0.0, 0.0], [1.0]])
def test_next_to_nothing_is_no_evidence(differences: list[float]) -> None:
    assert sign_flip(np.array(differences), np.arange(len(differences)), seed=0) == 1


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_interval_over_seeds_is_student_s() -> None:
    values = [0.60, 0.64, 0.68]
    theirs = stats.t.interval(0.95, 2, loc=0.64, scale=0.04 / np.sqrt(3))
    assert seed_interval(values) == pytest.approx(theirs)
    assert seed_interval(values[:2]) is None


def test_error_of_one_seed_is_that_over_stickers() -> None:
    right = np.repeat([0.0, 1.0], [100, 300])
    drawn = drawn_means(right, draw_groups(np.arange(400), 0, 4000))
    error = error_of_two(drawn, np.array([0.75]), 400)
    assert error.over_seeds == 0
    half = 1.966 * np.sqrt(0.75 * 0.25 / 400)
    assert error.interval == pytest.approx((0.75 - half, 0.75 + half), abs=0.003)
    theirs = stats.ttest_1samp(right, 0.5).pvalue
    test = error_of_two(drawn - 0.5, np.array([0.25]), 400)
    assert np.log(test.p_value) == pytest.approx(np.log(theirs), rel=0.1)


def test_degrees_of_freedom_are_satterthwaite_s() -> None:
    # One error alone has its own; two equal ones of 3 seeds and many stickers: 4 / (1 / 2 + 0).
    assert ErrorOfTwo(0.1, 0.0, 0.02, 400, 3).freedom == pytest.approx(2)
    assert ErrorOfTwo(0.1, 0.02, 0.0, 400, 3).freedom == pytest.approx(399)
    assert ErrorOfTwo(0.1, 0.02, 0.02, 10**9, 3).freedom == pytest.approx(8)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Stickers and seeds drawn anew, 400 times: the true difference lies inside 95 times of 100."""
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(400):
        hardness, shift = rng.normal(size=(60, 1)), rng.normal(scale=0.35, size=5)
        first = (hardness + 0.4 + shift + rng.normal(size=(60, 5)) > 0).astype(float)
        second = (hardness + rng.normal(scale=0.35, size=5) + rng.normal(size=(60, 5)) > 0).astype(float)
        difference = (first - second).T
        drawn = drawn_means(difference.mean(0), draw_groups(np.arange(60), 0, 300))
        low, high = error_of_two(drawn, difference.mean(1), 60).interval
        # P(N(.4, 2 + .35^2) > 0) - 1 / 2
        true = stats.norm.cdf(0.4 / np.sqrt(2 + 0.35**2)) - 0.5
        inside.append(low <= true <= high)
    assert 0.92 <= np.mean(inside) <= 0.99


def test_stickers_that_would_show_a_difference() -> None:
    error = ErrorOfTwo(0.02, 0.02, 0.0, 1000, 1)
    needed = error.stickers_needed(1000)
    # (t + .84)^2 = 7.86 times as many stickers, rounded up to two digits.
    assert needed == 7900
    many = ErrorOfTwo(0.02, 0.02 * np.sqrt(1000 / needed), 0.0, needed, 1)
    power = stats.norm.sf(1.96 - many.value / many.error)
    assert power == pytest.approx(0.8, abs=0.01)
    assert ErrorOfTwo(0.02, 0.02, 0.02, 1000, 3).stickers_needed(1000) is None
    assert ErrorOfTwo(0.0, 0.02, 0.0, 1000, 1).stickers_needed(1000) is None
