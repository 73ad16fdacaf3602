"""The formulas: log-scores of options averaged over their orders, and freed of each class's own bias.

PriDe (arXiv 2309.03882) shows that models prefer letters, Batch Calibration (arXiv 2309.17249) that they
prefer classes; both need no labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def by_label(letters: ArrayLike) -> Floats:
    """Return log-probabilities of letters by the label that each stood for.

    Args:
        letters: [K, K]; row r holds the letters A, B, … where the options began with label r.

    Returns:
        [K, K]; row r, column k: of label k in that order.
    """
    values = np.asarray(letters, np.float64)
    count = len(values)
    orders, labels = np.indices((count, count))
    result: Floats = values[orders, (labels - orders) % count]
    return result


def mean_over_orders(scores: ArrayLike) -> Floats:
    """Return the mean log-probability of every label over the orders.

    What all letters of one order have in common (other tokens took the rest) adds the same to every label:
    it changes neither the softmax nor the calibrated one.

    Args:
        scores: [..., K orders, K labels].

    Returns:
        [..., K].
    """
    result: Floats = np.asarray(scores, np.float64).mean(axis=-2)
    return result


def softmax(scores: ArrayLike) -> Floats:
    """Return probabilities along the last axis."""
    values = np.asarray(scores, np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return result


def batch_calibrated(scores: ArrayLike, reference: ArrayLike) -> Floats:
    """Return scores minus each class's mean over a batch (Batch Calibration); no label is looked at.

    Args:
        scores: [n, K] log-scores of the stickers that are judged.
        reference: [m, K] those of the stickers on which the bias is estimated.
    """
    bias = np.asarray(reference, np.float64).mean(axis=0)
    result: Floats = np.asarray(scores, np.float64) - bias
    return result


def order_sensitive(scores: ArrayLike) -> NDArray[np.bool_]:
    """Return whether the likeliest label is another one in some order.

    Args:
        scores: [..., K orders, K labels].

    Returns:
        [...].
    """
    best = np.asarray(scores).argmax(axis=-1)
    result: NDArray[np.bool_] = (best != best[..., :1]).any(axis=-1)
    return result
