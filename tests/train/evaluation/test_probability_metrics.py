"""Metrics of labels and probabilities: scikit-learn's own figures, and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as theirs
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from mghft.train.evaluation.bootstrap import group_numbers
from mghft.train.evaluation.calibration import apply_temperature, fit_temperature
from mghft.train.evaluation.metrics import classification_metrics, kappa, wilson_interval
from mghft.train.evaluation.probability_metrics import calibration_error, probability_metrics

LABELS = ("anger", "fear", "joy", "sadness")


def drawn(count: int = 400, classes: int = 4, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and probabilities that are sharper than they are right."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(count, classes))
    true = np.array([rng.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return true, softmax(sharpness * logits, axis=1)


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    true, probabilities = drawn()
    predicted = probabilities.argmax(1)
    found = classification_metrics(true, predicted, LABELS)
    assert found.accuracy == pytest.approx(theirs.accuracy_score(true, predicted))
    assert found.balanced_accuracy == pytest.approx(theirs.balanced_accuracy_score(true, predicted))
    assert found.mcc == pytest.approx(theirs.matthews_corrcoef(true, predicted))
    assert found.kappa == pytest.approx(theirs.cohen_kappa_score(true, predicted))
    table = theirs.classification_report(true, predicted, target_names=LABELS, output_dict=True)
    for average, name in (("macro avg", "macro"), ("weighted avg", "weighted")):
        for key, field in (("precision", "precision"), ("recall", "recall"), ("f1-score", "f1")):
            assert getattr(found, f"{field}_{name}") == pytest.approx(table[average][key])
    for label in LABELS:
        row = found.per_class[label]
        assert (row.precision, row.recall, row.f1, row.count) == pytest.approx(tuple(table[label].values()))


def test_class_that_does_not_occur_counts_as_in_scikit_learn_s_balanced_accuracy() -> None:
    true, probabilities = drawn()
    rows = true != 2
    predicted = probabilities[rows].argmax(1)
    found = classification_metrics(true[rows], predicted, LABELS)
    how = {"labels": [0, 1, 3], "average": "macro"}
    assert found.f1_macro == pytest.approx(theirs.f1_score(true[rows], predicted, **how))
    assert found.recall_macro == pytest.approx(theirs.recall_score(true[rows], predicted, **how))
    assert found.per_class["joy"].recall_interval is None


def test_one_label_throughout_has_no_kappa() -> None:
    same = np.zeros(5, dtype=np.int64)
    assert kappa(same, same) is None
    assert classification_metrics(same, same, LABELS).mcc == 0
    assert kappa(np.array([0, 1, 0, 1]), np.array([0, 0, 0, 0])) == 0


def test_wilson_interval_of_the_literature() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20, score method.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_metrics_of_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    true, probabilities = drawn(classes=classes)
    found = probability_metrics(true, probabilities, LABELS[:classes])
    one_hot = np.eye(classes)[true]
    assert found.log_loss == pytest.approx(theirs.log_loss(true, probabilities))
    assert found.mean_average_precision == pytest.approx(
        np.mean([theirs.average_precision_score(one_hot[:, i], probabilities[:, i]) for i in range(classes)])
    )
    by_hand = ((probabilities - one_hot) ** 2).sum(1).mean()
    assert found.brier == pytest.approx(by_hand / 2 if classes == 2 else by_hand)
    assert set(found.top_k) == {k for k in (2, 3) if k < classes}
    for k, share in found.top_k.items():
        best = np.argsort(-probabilities, axis=1)[:, :k]
        assert share == pytest.approx((best == true[:, None]).any(1).mean())


def test_class_without_stickers_has_no_average_precision() -> None:
    true, probabilities = drawn()
    rows = true != 2
    found = probability_metrics(true[rows], probabilities[rows], LABELS)
    expected = [theirs.average_precision_score(true[rows] == i, probabilities[rows][:, i]) for i in (0, 1, 3)]
    assert found.mean_average_precision == pytest.approx(np.mean(expected))
    assert found.log_loss == pytest.approx(theirs.log_loss(true[rows], probabilities[rows], labels=range(4)))


def test_calibration_error_by_hand() -> None:
    # Two stickers said with .9, one of them right: |.5 - .9|; three said with .6, all right: |1 - .6|; one
    # with .7, right: .3.
    sure = np.array([0.9, 0.9, 0.6, 0.6, 0.6, 0.7])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    true = np.array([0, 1, 0, 0, 0, 0])
    assert calibration_error(true, probabilities) == pytest.approx((2 * 0.4 + 3 * 0.4 + 0.3) / 6)
    assert calibration_error(true, probabilities, norm="max") == pytest.approx(0.4)


class Logits(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose inputs are its logits."""

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> Logits:
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, inputs: np.ndarray) -> np.ndarray:
        return inputs

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.argmax(1)


def test_temperature_is_that_of_scikit_learn() -> None:
    true, probabilities = drawn(2000)
    found = fit_temperature(probabilities, true)
    # The labels were drawn at a third of this sharpness.
    assert found == pytest.approx(3, rel=0.1)
    logits = np.log(probabilities)
    estimator = FrozenEstimator(Logits().fit(logits, true))
    fitted = CalibratedClassifierCV(estimator, method="temperature").fit(logits, true)
    np.testing.assert_allclose(
        apply_temperature(probabilities, found), fitted.predict_proba(logits), atol=1e-3
    )


def test_temperature_mends_the_calibration_and_no_choice() -> None:
    true, probabilities = drawn(4000)
    temperature = fit_temperature(probabilities[:2000], true[:2000])
    rest = probabilities[2000:]
    found = probability_metrics(true[2000:], rest, LABELS, temperature=temperature)
    assert found.ece > 0.15 and found.ece_calibrated is not None and found.ece_calibrated < 0.05
    assert found.log_loss_calibrated is not None and found.log_loss_calibrated < found.log_loss
    assert (apply_temperature(rest, temperature).argmax(1) == rest.argmax(1)).all()


def test_certain_probabilities_have_a_temperature() -> None:
    certain = np.eye(2)[[0, 1, 0, 1]]
    # All right: sharper is never worse. All wrong: as flat as it goes.
    assert fit_temperature(certain, np.array([0, 1, 0, 1])) < 1
    assert fit_temperature(certain, np.array([1, 0, 1, 0])) == pytest.approx(100, rel=0.01)


def test_stickers_without_a_group_are_alone() -> None:
    numbers = group_numbers(["cats", None, "cats", None, "alone 1"])
    assert numbers[0] == numbers[2] and len(set(numbers.tolist())) == 4
