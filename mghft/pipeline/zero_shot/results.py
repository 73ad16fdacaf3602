"""From rows to systems: what each protocol says about every sticker, as probabilities of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.zero_shot.questions import CHOICE, LETTER, WITH, WITHOUT, Answers
from mghft.pipeline.zero_shot.scores import (
    Floats,
    batch_calibrated,
    by_label,
    mean_over_orders,
    order_sensitive,
    softmax,
)
from mghft.pipeline.zero_shot.wording import first_label

SCORE, CALIBRATED = "score", "calibrated"


@dataclass(frozen=True)
class System:
    """One protocol's say about n stickers.

    Attributes:
        name: without the model's.
        probabilities: [n, K]; a row without an answer is NaN.
        tokens: [n] read and written.
    """

    name: str
    probabilities: Floats
    tokens: NDArray[np.int64]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Return [n] whether there is an answer."""
        result: NDArray[np.bool_] = ~np.isnan(self.probabilities[:, 0])
        return result


@dataclass(frozen=True)
class Scored:
    """The scores of n stickers.

    Attributes:
        orders: [n, K orders, K labels], NaN where the engine told none.
        unseen: share of the log-probabilities that a server did not tell.
    """

    orders: Floats
    unseen: float

    @property
    def means(self) -> Floats:
        """Return [n, K] means over the orders."""
        return mean_over_orders(self.orders)

    @property
    def told(self) -> NDArray[np.bool_]:
        """Return [n] whether a sticker has scores."""
        result: NDArray[np.bool_] = ~np.isnan(self.orders[:, 0, 0])
        return result

    @property
    def mass(self) -> float:
        """Return the mean probability that the first token is any of the letters; NaN without scores."""
        told = self.told
        return float(np.exp(self.orders[told]).sum(axis=-1).mean()) if told.any() else float("nan")

    @property
    def changes(self) -> float | None:
        """Return the share of the stickers whose answer changes with the order; None without scores."""
        told = self.told
        return float(order_sensitive(self.orders[told]).mean()) if told.any() else None


def answers_given(found: Mapping[str, Answers], condition: str) -> Answers | None:
    """Return a sticker's answers under a condition; one without words has the same ones under both."""
    return found.get(condition, found.get(WITHOUT) if condition == WITH else None)


def read_scores(answers: Sequence[Answers | None], count: int) -> Scored:
    """Return the scores of stickers with `count` labels."""
    orders = np.full((len(answers), count, count), np.nan)
    unseen = []
    for number, one in enumerate(answers):
        if one is not None and one.letters is not None:
            unseen.append(one.unseen / count**2)
            # Where no letter was told in any order, all labels are alike: that is no answer.
            if one.unseen < count**2:
                orders[number] = by_label(one.letters)
    return Scored(orders, float(np.mean(unseen)) if unseen else 0.0)


def word_system(kind: str, answers: Sequence[Answers | None], labels: Sequence[str]) -> System:
    """Return the system of the replies in words, choice or official."""
    probabilities = np.full((len(answers), len(labels)), np.nan)
    for number, one in enumerate(answers):
        reply = None if one is None else (one.choice if kind == CHOICE else one.official)
        label = None if reply is None else first_label(reply, labels)
        if label is not None:
            probabilities[number] = np.eye(len(labels))[label]
    return System(kind, probabilities, _tokens(answers, kind))


def score_systems(
    answers: Sequence[Answers | None],
    scored: Scored,
    reference: Scored | None,
    *,
    transductive: bool,
) -> list[System]:
    """Return the systems of the scores: as they are, and calibrated; none where the engine told none.

    Args:
        answers: of the judged stickers.
        scored: their scores.
        reference: scores of the stickers on which the bias of the classes is estimated, None for none.
        transductive: calibrate also on the judged stickers themselves.
    """
    if not scored.told.any():
        return []
    tokens = _tokens(answers, LETTER)
    found = [System(SCORE, softmax(scored.means), tokens)]
    if reference is not None and reference.told.any():
        bias_from = reference.means[reference.told]
        found.append(System(CALIBRATED, softmax(batch_calibrated(scored.means, bias_from)), tokens))
    if transductive:
        own = softmax(batch_calibrated(scored.means, scored.means[scored.told]))
        found.append(System(f"{CALIBRATED} (transductive)", own, tokens))
    return found


def _tokens(answers: Sequence[Answers | None], kind: str) -> NDArray[np.int64]:
    return np.array([0 if one is None else sum(one.tokens[kind]) for one in answers], np.int64)
