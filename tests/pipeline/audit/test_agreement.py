"""Labels of single annotators: agreement and soft labels, by hand-counted cases."""

import numpy as np
import pytest

from mghft.pipeline.audit.agreement import measure_agreement, soft_labels
from mghft.pipeline.corpora.sticker import Sticker


def sticker(*votes, label=0):
    return Sticker("s", "s.png", "train", label, "x", votes=votes)


def test_soft_labels_are_shares_of_the_votes():
    found = soft_labels([sticker(0, 0, 2), sticker(1, None, None), sticker(label=2)], 3)
    assert found.tolist() == [[2 / 3, 0, 1 / 3], [0, 1, 0], [0, 0, 1]]


def test_soft_label_of_nothing_names_the_sticker():
    with pytest.raises(ValueError, match="'s' has neither a label nor"):
        soft_labels([sticker(None, label=None)], 3)


def test_agreement_of_a_worked_example():
    # Two of four unanimous, one with a majority that is not the label, one without a majority.
    rated = [sticker(0, 0, 0), sticker(1, 1, 1, label=1), sticker(0, 2, 2), sticker(0, 1, 2)]
    found = measure_agreement([*rated, sticker(0, None, 0), sticker()], ["a", "b", "c"])
    assert found is not None
    assert (found.stickers, found.annotators, found.unanimous, found.majority) == (4, 3, 0.5, 0.75)
    assert found.label_is_majority == pytest.approx(2 / 3)
    assert found.by_label == pytest.approx({"a": (1 + 1 / 3 + 1 / 3) / 3, "b": 1.0})
    # Observed pairs (1 + 1 + 1/3 + 0) / 4; votes 5, 4, 3 of 12.
    observed, chance = 7 / 12, (25 + 16 + 9) / 144
    assert found.kappa == pytest.approx((observed - chance) / (1 - chance))


def test_kappa_of_a_published_example():
    # Fleiss 1971, as recounted in most textbooks: 10 subjects, 14 raters, 5 categories, kappa 0.210.
    table = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    rated = [sticker(*np.repeat(range(5), row).tolist()) for row in table]
    found = measure_agreement(rated, list("abcde"))
    assert found is not None and found.kappa == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize("votes", [(), (1,), (None, 1)])
def test_without_two_votes_there_is_no_agreement(votes):
    assert measure_agreement([sticker(*votes)], ["a", "b"]) is None


def test_everybody_says_one_thing():
    found = measure_agreement([sticker(0, 0)], ["a", "b"])
    assert found is not None and (found.kappa, found.label_is_majority) == (1.0, 1.0)
