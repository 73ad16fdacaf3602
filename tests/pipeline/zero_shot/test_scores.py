"""The formulas against values by hand and against numpy written out."""

import numpy as np
import pytest

from mghft.pipeline.zero_shot.scores import (
    batch_calibrated,
    by_label,
    mean_over_orders,
    order_sensitive,
    softmax,
)


def test_letters_go_back_to_the_labels_that_they_stood_for():
    """Three labels x, y, z; the orders are xyz, yzx, zxy."""
    letters = [["xA", "yB", "zC"], ["yA", "zB", "xC"], ["zA", "xB", "yC"]]
    numbers = {name: place for place, name in enumerate(sorted({n for row in letters for n in row}))}
    found = by_label([[numbers[name] for name in row] for row in letters])
    expected = [["xA", "yB", "zC"], ["xC", "yA", "zB"], ["xB", "yC", "zA"]]
    assert found.tolist() == [[numbers[name] for name in row] for row in expected]


def test_the_mean_over_the_orders_cancels_what_letters_have_of_their_own():
    labels, letters = np.log([0.5, 0.3, 0.2]), np.array([2.0, -1.0, 0.3])
    asked = np.array(
        [[labels[(place + order) % 3] + letters[place] for place in range(3)] for order in range(3)]
    )
    asked -= np.array([[0.1], [5.0], [2.0]])  # what other tokens took, in each order
    assert softmax(asked[0])[0] > 0.9
    assert softmax(mean_over_orders(by_label(asked))) == pytest.approx([0.5, 0.3, 0.2])


def test_calibration_by_hand():
    """Means of the reference: -1, -3. So -2, -3 becomes -1, 0: the other label, with e/(1+e)."""
    found = softmax(batch_calibrated([[-2.0, -3.0]], [[-0.5, -4.0], [-1.5, -2.0]]))
    assert found.tolist() == [pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])]


def test_calibration_is_the_mean_over_the_batch_taken_off_whatever_an_order_has_in_common():
    dice = np.random.default_rng(3)
    scores, reference = dice.normal(size=(5, 4)), dice.normal(size=(7, 4))
    expected = np.exp(scores) / np.exp(reference.mean(axis=0))
    expected /= expected.sum(axis=1, keepdims=True)
    assert softmax(batch_calibrated(scores, reference)) == pytest.approx(expected)
    moved = softmax(batch_calibrated(scores + dice.normal(size=(5, 1)), reference - 6.0))
    assert moved == pytest.approx(expected)


def test_a_batch_calibrated_on_itself_prefers_no_class():
    scores = np.random.default_rng(0).normal(size=(50, 3)) + np.array([0.0, 4.0, -2.0])
    assert set(softmax(scores).argmax(axis=1)) == {1}
    assert batch_calibrated(scores, scores).mean(axis=0) == pytest.approx([0.0, 0.0, 0.0])


def test_order_sensitive_is_who_has_another_best_label_in_some_order():
    same = [[3.0, 1.0], [2.0, 1.9]]
    other = [[3.0, 1.0], [1.0, 3.0]]
    assert order_sensitive([same, other, same]).tolist() == [False, True, False]


def test_softmax_of_scores_far_below_zero():
    assert softmax([[-1000.0, -1000.0], [-1000.0, -3.0]]).tolist() == [[0.5, 0.5], [0.0, 1.0]]
