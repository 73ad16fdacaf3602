"""The table of emoji: labels, their sources, the hold-out and the icons it names."""

from collections import Counter

import pytest

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.emoji.build import plan_rows
from mghft.pipeline.corpora.emoji.table import (
    CORPUS_STYLES,
    FOLDS,
    LABELS,
    STAND_IN_STYLES,
    STYLE_GROUPS,
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


def test_about_a_quarter_of_every_class_is_held_out():
    table = load_table()
    assert sum(emoji.holdout for emoji in table) == 41
    for label in LABELS:
        members = [emoji for emoji in table if emoji.label == label]
        assert sum(emoji.holdout for emoji in members) == round(0.23 * len(members))


def test_folds_are_of_a_size_and_stratified():
    table = load_table()
    sizes = Counter(emoji.fold for emoji in table)
    assert set(sizes) == set(range(FOLDS)) and max(sizes.values()) - min(sizes.values()) <= 1
    for label in LABELS:
        shares = Counter(emoji.fold for emoji in table if emoji.label == label)
        assert max(shares.values()) - min(shares[fold] for fold in range(FOLDS)) <= 1


def test_person_man_and_woman_of_a_gesture_share_a_fold():
    folds = {}
    for emoji in load_table():
        for gesture in GESTURES:
            if emoji.name.endswith(gesture):
                folds.setdefault(gesture, []).append(emoji.fold)
    assert {len(found) for found in folds.values()} == {3}
    assert all(len(set(found)) == 1 for found in folds.values())


def test_no_held_out_emoji_has_a_twin_that_is_seen():
    twins = [e.name for e in load_table() if e.name.startswith(("man ", "woman ", "person ")) and e.holdout]
    assert [name for name in twins if name.endswith(GESTURES)] == []


def test_corpus_and_interpreter_share_no_style():
    assert not set(CORPUS_STYLES) & set(STAND_IN_STYLES)
    assert set(CORPUS_STYLES) | set(STAND_IN_STYLES) == set(STYLES)


def test_test_is_all_that_is_new_and_says_what_is_new():
    found = {(row.style == "twemoji", row.emoji.holdout): (row.split, row.subset) for row in plan_rows()}
    assert found[True, False] == ("test", "unseen style")
    assert found[False, True] == ("test", "unseen emoji")
    assert found[True, True] == ("test", "unseen style and emoji")
    assert {row.subset for row in plan_rows() if row.split != "test"} == {""}


def test_train_and_validation_have_no_style_and_test_no_held_out_emoji_in_common():
    rows = plan_rows()
    styles = {split: {row.style for row in rows if row.split == split} for split in ("train", "validation")}
    assert styles["train"] == {"fluent-emoji", "fluent-emoji-flat", "streamline-emojis"}
    assert styles["validation"] == {"noto"}
    known = {row.emoji.hexcode for row in rows if row.split == "train"}
    assert {row.emoji.hexcode for row in rows if row.subset == "unseen style"} <= known
    unseen = {row.emoji.hexcode for row in rows if "emoji" in row.subset}
    assert not unseen & {row.emoji.hexcode for row in rows if row.split != "test"}


@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_fold_is_test_in_every_style_and_its_emoji_nowhere_else(fold):
    by_split = {split: set() for split in ("train", "validation", "test")}
    for row in plan_rows():
        by_split[row.variants[f"fold={fold}"]].add(row.emoji.hexcode)
    assert by_split["test"] == {emoji.hexcode for emoji in load_table() if emoji.fold == fold}
    assert by_split["validation"] == {
        emoji.hexcode for emoji in load_table() if emoji.fold == (fold + 1) % FOLDS
    }
    assert not by_split["train"] & (by_split["test"] | by_split["validation"])


@pytest.mark.parametrize("group", STYLE_GROUPS)
def test_a_style_left_out_takes_its_twin_along(group):
    by_split = {split: set() for split in ("train", "validation", "test")}
    for row in plan_rows():
        by_split[row.variants[f"style={group}"]].add(row.style)
    assert by_split["test"] == set(STYLE_GROUPS[group])
    assert by_split["validation"] in [set(members) for members in STYLE_GROUPS.values()]
    assert not by_split["validation"] & by_split["test"]
    assert by_split["train"] == set(CORPUS_STYLES) - by_split["validation"] - by_split["test"]


def test_the_card_has_every_variant_with_what_is_built():
    rows = plan_rows()
    assert set(load_card("emoji").variants) == {*rows[0].variants, "v1"}
    for variant in rows[0].variants:
        card = load_card(f"emoji:{variant}")
        assert dict(Counter(row.variants[variant] for row in rows)) == card.counts
        assert card.columns.split == variant and card.columns.subset == "style"


def test_the_card_counts_what_is_built():
    card = load_card("emoji")
    assert dict(Counter(row.split for row in plan_rows())) == card.counts
    assert card.labels == LABELS
