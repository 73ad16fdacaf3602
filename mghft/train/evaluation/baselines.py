"""Baselines of trained runs: the most frequent label, regression on vectors, late fusion."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def majority_baseline(train_labels: NDArray[np.int64], classes: int, count: int) -> NDArray[np.float64]:
    """Return the label frequencies of the training split for every sticker, the same for each.

    Args:
        train_labels: [n] label indices.
        classes: number of labels.
        count: stickers to predict.

    Returns:
        [count, classes] probabilities.
    """
    frequencies = np.bincount(train_labels, minlength=classes) / len(train_labels)
    return np.tile(frequencies, (count, 1))


@dataclass(frozen=True)
class RegressionBaseline:
    """Logistic regression on vectors: those of the texts, or those of texts and images side by side.

    Attributes:
        strength: inverse regularisation C, chosen by accuracy on validation.
        probabilities: per split [n, classes].
    """

    strength: float
    probabilities: dict[str, NDArray[np.float64]]


def regression_baseline(
    features: Mapping[str, NDArray[np.float32]], labels: Mapping[str, NDArray[np.int64]], classes: int
) -> RegressionBaseline:
    """Fit on train, choose C on validation, predict every split.

    Args:
        features: per split [n, width], zeros where a view is missing; train and validation are needed.
        labels: per split [n] label indices.
        classes: number of labels; one that train lacks gets probability 0.
    """
    best_accuracy, best_model, strength = -1.0, None, STRENGTHS[0]
    for candidate in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=candidate, max_iter=1000))
        with warnings.catch_warnings():
            # A weak penalty may not settle in 1000 rounds; such a candidate is compared as it is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features["train"], labels["train"])
        accuracy = float(np.mean(model.predict(features["validation"]) == labels["validation"]))
        if accuracy > best_accuracy:
            best_accuracy, best_model, strength = accuracy, model, candidate
    assert best_model is not None
    probabilities = {}
    for split, rows in features.items():
        probabilities[split] = np.zeros((len(rows), classes))
        probabilities[split][:, best_model.classes_] = best_model.predict_proba(rows)
    return RegressionBaseline(strength, probabilities)


def mean_of_probabilities(
    first: Mapping[str, NDArray[np.float64]], second: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return late fusion of two systems without anything to fit: per split the mean of their [n, classes]."""
    return {name: (rows + second[name]) / 2 for name, rows in first.items() if name in second}


def side_by_side(
    first: Mapping[str, NDArray[np.float32]], second: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Return per split [n, a + b] from vectors [n, a] and [n, b], which must be of the same splits."""
    return {name: np.concatenate([rows, second[name]], axis=1) for name, rows in first.items()}
