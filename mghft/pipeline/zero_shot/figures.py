"""The figures of one system on the stickers of one split; what was not answered is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from mghft.pipeline.zero_shot.results import System
from mghft.pipeline.zero_shot.scores import Floats


class Figures(TypedDict):
    """What a report says about one system on one split.

    Attributes:
        stickers: how many were judged; `non_answers` of them have no answer and count as wrong.
        balanced_accuracy, f1_macro: means over the classes that occur; f1_weighted: by their stickers.
        predicted: how often each label was answered.
        changes_under_rotation: share of the stickers whose likeliest option is another one in another order
            of the options; None for systems that were asked in one order.
        with_text: stickers whose words were given in the prompt.
    """

    system: str
    stickers: int
    accuracy: float
    balanced_accuracy: float
    f1_macro: float
    f1_weighted: float
    non_answers: int
    predicted: dict[str, int]
    changes_under_rotation: float | None
    tokens_per_sticker: float
    with_text: int


def figures(
    name: str,
    system: System,
    true: NDArray[np.int64],
    labels: Sequence[str],
    *,
    changes: float | None,
    with_text: int,
) -> Figures:
    """Compute the figures of a system.

    Args:
        name: of model and system.
        system: its probabilities of n stickers.
        true: [n] label indices.
        labels: names in index order.
        changes, with_text: as in `Figures`.
    """
    count = len(labels)
    answered = system.answered
    predicted = np.full(len(true), count)
    predicted[answered] = system.probabilities[answered].argmax(axis=1)
    columns = precision_recall_fscore_support(true, predicted, labels=range(count), zero_division=0.0)
    _, recall, f1, support = (np.asarray(column) for column in columns)
    present = support > 0
    return {
        "system": name,
        "stickers": len(true),
        "accuracy": float(np.mean(predicted == true)),
        "balanced_accuracy": float(recall[present].mean()),
        "f1_macro": float(f1[present].mean()),
        "f1_weighted": float((f1 * support).sum() / support.sum()),
        "non_answers": int((~answered).sum()),
        "predicted": {label: int((predicted == number).sum()) for number, label in enumerate(labels)},
        "changes_under_rotation": changes,
        "tokens_per_sticker": float(system.tokens.mean()),
        "with_text": with_text,
    }


def without_gaps(system: System, true: NDArray[np.int64]) -> Floats:
    """Return probabilities in which a missing answer is wrong: all labels but the true one are as likely.

    Files of predictions know no missing answer, and any other row would be right for some stickers.
    """
    probabilities = system.probabilities.copy()
    gaps = np.flatnonzero(~system.answered)
    wrong = 1.0 / (probabilities.shape[1] - 1)
    probabilities[gaps] = wrong
    probabilities[gaps, true[gaps]] = 0.0
    return probabilities
