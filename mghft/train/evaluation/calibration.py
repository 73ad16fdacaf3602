"""Calibration: one temperature for all logits (Guo et al., ICML 2017), fitted where nothing was trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

# Beyond a hundred in either direction the probabilities are all equal, or all 0 and 1.
_LOG_RANGE = (float(np.log(0.01)), float(np.log(100.0)))
_SMALLEST = 1e-12


def fit_temperature(probabilities: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    """Return the temperature with the least log loss.

    Args:
        probabilities: [n, classes] of stickers that took no part in training: the validation split.
        true: [n] label indices.
    """
    logits = _logits(probabilities)

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scaled[np.arange(len(true)), true].mean())

    found = minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return the softmax of the logits over the temperature, [n, classes]; the largest stays the largest."""
    scaled: NDArray[np.float64] = softmax(_logits(probabilities) / temperature, axis=1)
    return scaled


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.clip(probabilities, _SMALLEST, None))
