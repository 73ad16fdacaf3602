"""Agreement of systems with single annotators."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.evaluation.annotators import annotator_kappa

VOTES = np.array([[0, 1, 2, 0, 1, 2, 0, 1], [0, 1, 2, 0, 1, 1, 0, 2], [0, 1, 1, 0, 2, 2, 1, 1]])
SYSTEM = np.array([0, 1, 2, 0, 0, 2, 0, 1])


def stickers(votes: np.ndarray) -> list[Sticker]:
    return [
        Sticker(f"{row}", f"{row}", "test", votes=tuple(None if v < 0 else int(v) for v in column))
        for row, column in enumerate(votes.T)
    ]


def test_kappa_with_each_annotator_and_among_them() -> None:
    found = annotator_kappa(stickers(VOTES), {"MGHFT": SYSTEM})
    assert found is not None
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert found.human == pytest.approx(np.mean([cohen_kappa_score(VOTES[a], VOTES[b]) for a, b in pairs]))
    assert found.systems["MGHFT"] == pytest.approx(np.mean([cohen_kappa_score(v, SYSTEM) for v in VOTES]))
    assert (found.annotators, found.stickers) == (3, 8)


def test_missing_votes_are_left_out() -> None:
    votes = VOTES.copy()
    votes[1, :4] = -1
    found = annotator_kappa(stickers(votes), {"MGHFT": SYSTEM})
    assert found is not None and found.stickers == 8
    kept = cohen_kappa_score(votes[1, 4:], SYSTEM[4:])
    whole = [cohen_kappa_score(VOTES[row], SYSTEM) for row in (0, 2)]
    assert found.systems["MGHFT"] == pytest.approx(np.mean([*whole, kept]))


def test_corpus_with_one_label_alone_has_none() -> None:
    assert annotator_kappa([Sticker("a", "a", "test")], {"MGHFT": np.array([0])}) is None
    assert annotator_kappa(stickers(VOTES[:1]), {"MGHFT": SYSTEM}) is None
