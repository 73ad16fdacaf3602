"""The linear probe and its search."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from mghft.train.encoders.linear import STRENGTHS, fit_probe


def world(noise: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 20))
    labels = {name: np.arange(count) % 3 for name, count in (("train", 60), ("validation", 45), ("test", 60))}
    vectors = {
        name: (centres[rows] + noise * rng.normal(size=(len(rows), 20))).astype(np.float32)
        for name, rows in labels.items()
    }
    return vectors, labels


def test_probe_is_scikit_learn_s_regression_at_the_strength_it_chose() -> None:
    vectors, labels = world(2.0)
    found = fit_probe(vectors, labels, 3)
    assert found.strength in STRENGTHS
    # Seven, then at most two neighbours at each of four distances.
    assert 7 < found.tried <= 15
    scaler = StandardScaler().fit(vectors["train"])
    model = LogisticRegression(C=found.strength, max_iter=1000)
    model.fit(scaler.transform(vectors["train"]), labels["train"])
    expected = model.predict_proba(scaler.transform(vectors["test"]))
    np.testing.assert_allclose(found.probabilities["test"], expected, atol=1e-4)


def test_no_coarse_strength_is_better_on_validation() -> None:
    vectors, labels = world(2.5)
    found = fit_probe(vectors, labels, 3)
    scaler = StandardScaler().fit(vectors["train"])

    def score(strength: float) -> float:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(scaler.transform(vectors["train"]), labels["train"])
        predicted = model.predict(scaler.transform(vectors["validation"]))
        return float(f1_score(labels["validation"], predicted, average="macro"))

    assert score(found.strength) >= max(score(strength) for strength in STRENGTHS[::16]) - 1e-9


def test_class_that_train_lacks_gets_no_probability() -> None:
    vectors, labels = world(1.0)
    found = fit_probe(vectors, labels, 4)
    assert found.probabilities["test"].shape == (60, 4)
    assert found.probabilities["test"][:, 3].tolist() == [0.0] * 60
    assert found.probabilities["test"].sum(1) == pytest.approx(np.ones(60))
