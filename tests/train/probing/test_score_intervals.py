"""Intervals against simulations with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mghft.train.evaluation.bootstrap import accuracy_and_f1, draw_groups, paired_differences
from mghft.train.evaluation.metrics import classification_metrics
from mghft.train.probing.probe import assign_folds, linear_probe


def interval_of(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[float, float]:
    """Of the accuracy, where the label is 0 and a wrong guess 1."""
    labels = np.zeros(len(right), dtype=np.int64)
    return accuracy_and_f1(1 - right[None].astype(np.int64), labels, draw_groups(groups, 0))[0].interval


@pytest.mark.parametrize("size", [1, 4])
def test_an_interval_holds_the_true_accuracy_as_often_as_it_says(size: int) -> None:
    """150 groups of one or four stickers that are right or wrong together, right at 70 %."""
    rng = np.random.default_rng(0)
    groups = np.arange(150 * size) // size
    inside = 0
    for _ in range(60):
        low, high = interval_of((rng.random(150) < 0.7)[groups], groups)
        inside += low <= 0.7 <= high
    assert 54 <= inside <= 59


def test_stickers_of_a_group_are_not_taken_for_independent_ones() -> None:
    groups = np.arange(600) // 4
    right = (np.random.default_rng(1).random(150) < 0.7)[groups]
    (low, high), (near, far) = interval_of(right, groups), interval_of(right, np.arange(600))
    assert high - low == pytest.approx(2 * (far - near), rel=0.1)


def test_the_interval_around_a_cross_validated_probe_holds_the_accuracy_that_the_texts_allow() -> None:
    """Four labels, four words; a word is that of the label in 70 % of the texts: no reader does better."""
    inside, values = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = np.arange(80) % 4
        said = np.where(rng.random(80) < 0.7, labels, (labels + rng.integers(1, 4, 80)) % 4)
        features = np.eye(4, dtype=np.float32)[said]
        groups = np.arange(80)
        folds = assign_folds(labels, groups, seed)
        assert folds is not None
        found, _ = accuracy_and_f1(linear_probe(features, labels, folds), labels, draw_groups(groups, seed))
        values.append(found.value)
        inside += found.interval[0] <= 0.7 <= found.interval[1]
    assert np.mean(values) == pytest.approx(0.7, abs=0.03)
    assert inside >= 18


def test_figures_are_those_of_the_report() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 5, 80), rng.integers(0, 5, (3, 80))
    accuracy, f1 = accuracy_and_f1(predicted, labels, draw_groups(np.arange(80), 0))
    reports = [classification_metrics(labels, row, list("abcde")) for row in predicted]
    assert accuracy.value == pytest.approx(np.mean([report.accuracy for report in reports]))
    assert f1.value == pytest.approx(np.mean([report.f1_macro for report in reports]))
    assert f1.interval[0] < f1.value < f1.interval[1]


def right_of(rng: np.random.Generator, count: int, truth: float, systems: int) -> NDArray[np.float64]:
    """Systems that agree on half of the stickers, as prompts of one model do."""
    hard = rng.random(count)
    own = rng.random((systems, count))
    return (np.where(rng.random(count) < 0.5, hard, own) < truth).astype(np.float64)


def test_of_ten_equal_prompts_none_wins_more_often_than_the_level_says() -> None:
    """45 pairs each: at 95 % for every pair by itself, most rounds would have a winner."""
    rng = np.random.default_rng(0)
    groups = np.arange(100)
    winners = 0
    for seed in range(40):
        found = paired_differences(right_of(rng, 100, 0.5, 10), groups, draw_groups(groups, seed))
        assert len(found) == 45
        winners += any(pair.significant for pair in found)
    assert winners <= 4


def test_as_many_stickers_as_were_said_to_be_needed_tell_the_difference_four_times_of_five() -> None:
    rng = np.random.default_rng(0)

    def pair_of(count: int) -> NDArray[np.float64]:
        first, second = right_of(rng, count, 0.5, 1), right_of(rng, count, 0.6, 1)
        return np.concatenate([first, second])

    groups = np.arange(4000)
    large = pair_of(4000)
    (found,) = paired_differences(large, groups, draw_groups(groups, 0))
    assert found.significant and found.value == pytest.approx(-0.1, abs=0.03)
    needed = found.needed
    assert needed is not None and 200 < needed < 700
    few = np.arange(needed)
    told = [paired_differences(pair_of(needed), few, draw_groups(few, s))[0].significant for s in range(40)]
    assert 0.6 < np.mean(told) < 0.95


def test_pairs_without_disagreement_have_no_width_and_few_groups_have_much() -> None:
    groups = np.arange(6)
    same = np.tile([1.0, 0, 1, 0, 1, 1], (2, 1))
    (equal,) = paired_differences(same, groups, draw_groups(groups, 0))
    assert (equal.interval, equal.detectable, equal.significant) == ((0.0, 0.0), 0.0, False)
    other = same.copy()
    other[1, :3] = 0
    (few,) = paired_differences(other, groups, draw_groups(groups, 0))
    # Two of six stickers: standard error 0.21 between stickers, Student's t 2.57 for five degrees.
    assert few.interval == pytest.approx((1 / 3 - 2.57 * 0.21, 1 / 3 + 2.57 * 0.21), abs=0.03)
    assert not few.significant
