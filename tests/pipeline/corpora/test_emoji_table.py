"""The table of emoji: labels, their sources, the hold-out and the icons it names."""

from collections import Counter

import pytest

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.emoji.build import plan_rows
from mghft.pipeline.corpora.emoji.table import (
    CORPUS_STYLES,
    LABELS,
    STAND_IN_STYLES,
    STYLES,
    emotag_label,
    load_table,
)

GESTURES = ("frowning", "pouting", "gesturing NO", "facepalming", "shrugging")


def test_labels_are_the_seven_classes():
    assert {emoji.label for emoji in load_table()} == set(LABELS)


def test_every_label_from_emotag_follows_from_its_figures():
    wrong = [
        emoji.name
        for emoji in load_table()
        if emoji.label_source == "emotag"
        and (emoji.emotag is None or emotag_label(emoji.emotag) != emoji.label)
    ]
    assert wrong == []


def test_a_label_is_set_by_hand_only_where_emotag_is_silent_or_unclear():
    wrong = [
        emoji.name
        for emoji in load_table()
        if emoji.label_source == "hand"
        and emoji.emotag is not None
        and emotag_label(emoji.emotag) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("scores", "label"),
    [
        ({"joy": 0.9, "surprise": 0.3}, "happiness"),
        ({"fear": 0.5, "surprise": 0.4}, "fear"),
        ({"fear": 0.5, "surprise": 0.41}, None),
        ({"fear": 0.49}, None),
        ({"joy": 0.29}, "neutral"),
        ({"joy": 0.3}, None),
    ],
)
def test_only_clear_scores_give_a_label(scores, label):
    nothing = dict.fromkeys(("anger", "disgust", "fear", "joy", "sadness", "surprise"), 0.0)
    assert emotag_label(nothing | scores) == label


def test_hexcodes_are_unique():
    counts = Counter(emoji.hexcode for emoji in load_table())
    assert [code for code, count in counts.items() if count > 1] == []


def test_no_drawing_stands_for_two_emoji():
    icons = Counter((style, icon) for emoji in load_table() for style, icon in emoji.icons.items())
    assert [icon for icon, count in icons.items() if count > 1] == []


def test_a_tenth_of_every_class_is_held_out():
    table = load_table()
    for label in LABELS:
        members = [emoji for emoji in table if emoji.label == label]
        assert sum(emoji.holdout for emoji in members) == max(1, round(len(members) / 10))


def test_no_held_out_emoji_has_a_twin_that_is_seen():
    twins = [e.name for e in load_table() if e.name.startswith(("man ", "woman ", "person ")) and e.holdout]
    assert [name for name in twins if name.endswith(GESTURES)] == []


def test_corpus_and_interpreter_share_no_style():
    assert not set(CORPUS_STYLES) & set(STAND_IN_STYLES)
    assert set(CORPUS_STYLES) | set(STAND_IN_STYLES) == set(STYLES)


def test_test_split_is_all_of_twemoji_and_nothing_else():
    assert {row.style for row in plan_rows() if row.split == "test"} == {"twemoji"}
    assert {row.split for row in plan_rows() if row.style == "twemoji"} == {"test"}


def test_held_out_emoji_are_only_in_the_unseen_subset_of_test():
    assert {(row.split, row.subset) for row in plan_rows() if row.emoji.holdout} == {("test", "unseen")}
    assert not any(row.emoji.holdout for row in plan_rows() if row.subset != "unseen")


def test_seen_emoji_of_test_are_in_train_or_validation():
    rows = plan_rows()
    known = {row.emoji.hexcode for row in rows if row.split != "test"}
    assert {row.emoji.hexcode for row in rows if row.subset == "seen"} <= known


def test_validation_is_fifteen_percent_of_every_class():
    rows = [row for row in plan_rows() if row.split != "test"]
    for label in LABELS:
        mine = [row for row in rows if row.emoji.label == label]
        assert sum(row.split == "validation" for row in mine) == round(0.15 * len(mine))


def test_another_seed_chooses_other_validation_pictures():
    chosen = [{row.path for row in plan_rows(seed=seed) if row.split == "validation"} for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_the_card_counts_what_is_built():
    card = load_card("emoji")
    assert dict(Counter(row.split for row in plan_rows())) == card.counts
    assert card.labels == LABELS
