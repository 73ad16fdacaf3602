"""Linear probe: logistic regression on standardised vectors, its strength searched on validation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Inverse strengths, 96 logarithmic steps from 1e-6 to 1e6 (Radford et al., ICML 2021, appendix A.3).
STRENGTHS = np.logspace(-6, 6, 97)
_COARSE, _SPANS = 16, (8, 4, 2, 1)


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe.

    Attributes:
        strength: inverse regularisation C, with the best macro F1 on validation.
        tried: how many strengths were fitted.
        probabilities: per split [n, classes].
    """

    strength: float
    tried: int
    probabilities: dict[str, NDArray[np.float64]]


def fit_probe(
    vectors: Mapping[str, NDArray[np.float32]], labels: Mapping[str, NDArray[np.int64]], classes: int
) -> LinearProbe:
    """Fit on train, choose the strength on validation from coarse to fine, predict every split.

    Seven strengths over the whole range, then the neighbours of the best at half the distance, four times;
    the weaker of equals is kept (fewer surprises on other stickers). Nothing is fitted on validation in the
    end, so that a probe sees what the trained networks see.

    Args:
        vectors: per split [n, D]; train and validation are needed.
        labels: per split [n] label indices.
        classes: number of labels; one that train lacks gets probability 0.
    """
    fitted: dict[int, tuple[float, Any]] = {}

    def score(place: int) -> float:
        if place not in fitted:
            model = _fit(vectors["train"], labels["train"], float(STRENGTHS[place]))
            predicted = model.predict(vectors["validation"])
            f1 = f1_score(
                labels["validation"], predicted, labels=np.unique(labels["validation"]), average="macro"
            )
            fitted[place] = (float(f1), model)
        return fitted[place][0]

    best = max(range(0, len(STRENGTHS), _COARSE), key=lambda place: (score(place), -place))
    for span in _SPANS:
        near = [place for place in (best - span, best, best + span) if 0 <= place < len(STRENGTHS)]
        best = max(near, key=lambda place: (score(place), -place))
    model = fitted[best][1]
    probabilities = {}
    for split, rows in vectors.items():
        probabilities[split] = np.zeros((len(rows), classes))
        probabilities[split][:, model.classes_] = model.predict_proba(rows)
    return LinearProbe(float(STRENGTHS[best]), len(fitted), probabilities)


def _fit(vectors: NDArray[np.float32], labels: NDArray[np.int64], strength: float) -> Any:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    with warnings.catch_warnings():
        # A weak penalty may not settle in 1000 rounds; such a candidate is compared as it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, labels)
    return model
