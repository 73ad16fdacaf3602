"""Figures of predictions against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mghft.train.evaluation.baselines import majority_baseline, regression_baseline
from mghft.train.evaluation.bootstrap import draw_groups, drawn_means, percentiles
from mghft.train.evaluation.metrics import ClassMetrics, classification_metrics
from mghft.train.runs.files import epoch_line

# true a a a b b c, predicted a a b b c c: precision a 2/2, b 1/2, c 1/2; recall a 2/3, b 1/2, c 1/1.
TRUE, PREDICTED = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])


def test_figures_are_those_worked_out_by_hand() -> None:
    metrics = classification_metrics(TRUE, PREDICTED, ("a", "b", "c"))
    f1 = {"a": 0.8, "b": 0.5, "c": 2 / 3}
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert {label: row.f1 for label, row in metrics.per_class.items()} == pytest.approx(f1)
    assert metrics.precision_macro == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert metrics.recall_macro == pytest.approx((2 / 3 + 0.5 + 1) / 3)
    assert metrics.f1_macro == pytest.approx(sum(f1.values()) / 3)
    assert metrics.f1_weighted == pytest.approx((3 * 0.8 + 2 * 0.5 + 2 / 3) / 6)
    assert metrics.precision_weighted == pytest.approx((3 * 1 + 2 * 0.5 + 0.5) / 6)
    assert metrics.confusion == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_class_without_stickers_does_not_lower_the_macro_mean() -> None:
    with_absent = classification_metrics(TRUE, PREDICTED, ("a", "b", "c", "absent"))
    assert with_absent.f1_macro == classification_metrics(TRUE, PREDICTED, ("a", "b", "c")).f1_macro
    assert with_absent.per_class["absent"] == ClassMetrics(0.0, 0.0, 0.0, 0)


def interval(values: np.ndarray, groups: np.ndarray, seed: int = 1) -> tuple[float, float]:
    return percentiles(drawn_means(values, draw_groups(groups, seed)))


def test_interval_of_a_proportion_is_close_to_the_normal_one() -> None:
    values = np.repeat([0.0, 1.0], [100, 300])
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert interval(values, np.arange(400)) == pytest.approx((0.75 - half, 0.75 + half), abs=0.008)


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 0.0, 0.0, 1.0)], ids=["right", "gain"])
def test_interval_is_that_of_scipy(values: tuple[float, ...]) -> None:
    drawn = np.random.default_rng(3).choice(values, 500)
    theirs = stats.bootstrap(
        (drawn,), np.mean, n_resamples=4000, method="percentile", rng=4
    ).confidence_interval
    assert interval(drawn, np.arange(500)) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_copies_of_a_sticker_narrow_no_interval() -> None:
    values = np.random.default_rng(0).choice([0.0, 1.0], 200)
    alone = interval(values, np.arange(200))
    assert interval(np.repeat(values, 4), np.repeat(np.arange(200), 4)) == pytest.approx(alone)
    low, high = interval(np.repeat(values, 4), np.arange(800))
    assert high - low < 0.6 * (alone[1] - alone[0])


def test_majority_baseline_is_the_most_frequent_training_label() -> None:
    probabilities = majority_baseline(np.array([0, 2, 2, 2]), 3, 5)
    assert probabilities.tolist() == [[0.25, 0, 0.75]] * 5


def test_regression_baseline_learns_separable_text_and_never_predicts_an_absent_class() -> None:
    rng = np.random.default_rng(0)
    labels = {name: np.repeat([0, 2], 20) for name in ("train", "validation", "test")}
    features = {
        name: (rng.normal(size=(40, 4)) + 4 * rows[:, None]).astype(np.float32)
        for name, rows in labels.items()
    }
    found = regression_baseline(features, labels, 3)
    assert (found.probabilities["test"].argmax(1) == labels["test"]).mean() > 0.95
    assert (found.probabilities["test"][:, 1] == 0).all()


def test_epoch_line_tells_the_alignment_of_every_stage() -> None:
    names = ("loss", "classification_loss", "validation_accuracy", "validation_f1_macro", "lr")
    line = dict.fromkeys((*names, "seconds", "seconds_waiting", "stickers_per_second", "memory_mb"), 0.5)
    line |= {"epoch": 3, "best": False, "alignment_loss": 0.75}
    assert "alignment 0.750)" in epoch_line(line, 9)
    line |= {"alignment_loss_stage2": 0.5, "alignment_loss_stage1": 0.25}
    assert "alignment 0.750 = 0.250 + 0.500)" in epoch_line(line, 9)
