"""Systems among annotators: kappa with each of them, beside the kappa that they have among themselves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.evaluation.metrics import kappa

_NONE = -1


@dataclass(frozen=True)
class AnnotatorKappa:
    """Agreement of systems with the single annotators of a corpus.

    Attributes:
        annotators: how many there are.
        stickers: on which two of them at least voted.
        human: mean of Cohen's kappa over the pairs of annotators: what a system can be expected to reach.
        systems: by name, mean of Cohen's kappa with each annotator.
    """

    annotators: int
    stickers: int
    human: float
    systems: dict[str, float]


def annotator_kappa(
    stickers: Sequence[Sticker], predicted: Mapping[str, NDArray[np.int64]]
) -> AnnotatorKappa | None:
    """Compute the agreement of systems with the annotators.

    Args:
        stickers: [n], with their votes.
        predicted: [n] label indices by system.

    Returns:
        None where the corpus has no two annotators who voted on the same stickers.
    """
    count = max((len(sticker.votes) for sticker in stickers), default=0)
    votes = np.full((count, len(stickers)), _NONE)
    for row, sticker in enumerate(stickers):
        for annotator, vote in enumerate(sticker.votes):
            if vote is not None:
                votes[annotator, row] = vote
    among = [_kappa(first, second) for first, second in itertools.combinations(votes, 2)]
    human = [value for value in among if value is not None]
    if not human:
        return None
    systems = {}
    for name, answers in predicted.items():
        found = [value for vote in votes if (value := _kappa(vote, answers)) is not None]
        systems[name] = float(np.mean(found))
    shared = int(((votes != _NONE).sum(axis=0) > 1).sum())
    return AnnotatorKappa(count, shared, float(np.mean(human)), systems)


def _kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float | None:
    both = (first != _NONE) & (second != _NONE)
    return kappa(first[both], second[both]) if both.any() else None
