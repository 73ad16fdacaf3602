"""Whose descriptions a sticker gets, and texts without the words that give a label away."""

from __future__ import annotations

import numpy as np
import pytest

from mghft.train.robustness.texts import (
    across_classes,
    derangement,
    views_to_hide,
    within_classes,
    without_label_words,
)

LABELS = ("anger", "happiness", "sadness")
CLASSES = np.array([0, 0, 0, 1, 1, 2, 0, 1])


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_nobody_keeps_the_own_descriptions(count: int) -> None:
    places = derangement(count, seed=3)
    assert sorted(places.tolist()) == list(range(count))
    assert (places != np.arange(count)).all()
    assert (places == derangement(count, seed=3)).all()


def test_one_sticker_has_nobody_to_exchange_with() -> None:
    with pytest.raises(ValueError, match="the split has one sticker alone"):
        derangement(1, seed=0)


def test_exchange_inside_and_across_classes() -> None:
    inside = within_classes(CLASSES, seed=0)
    assert (CLASSES[inside] == CLASSES).all()
    # The only sticker of class 2 keeps its own.
    assert (inside != np.arange(8)).tolist() == [True] * 5 + [False] + [True] * 2
    assert sorted(inside.tolist()) == list(range(8))
    assert (CLASSES[across_classes(CLASSES, seed=0)] != CLASSES).all()


def test_views_are_hidden_alone_by_twos_and_altogether() -> None:
    assert views_to_hide(["a", "b", "c"]) == [
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
        ("a", "b", "c"),
    ]
    assert views_to_hide(["a", "b"]) == [("a",), ("b",), ("a", "b")]
    assert views_to_hide(["a"]) == [("a",)]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A happy cat, full of happiness.", "A  cat, full of ."),
        ("Angrily it doesn't cry", " it doesn't cry"),
        ("unhappy people", "unhappy people"),
        ("一只快乐的猫", "一只的猫"),
        ("SAD sadder sadness", "  "),
        ("nothing of it", "nothing of it"),
    ],
)
def test_forms_of_label_names_are_taken_out_and_nothing_else(text: str, left: str) -> None:
    assert without_label_words(text, LABELS) == left
