"""Subsets of a corpus: by conditions, ids, a draw; the same choice always gives the same stickers."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.selection import Selection, class_counts
from mghft.pipeline.corpora.sticker import Corpus, Sticker


def select(stickers, **fields):
    """The stickers that a selection chooses from a corpus of these."""
    return Selection(**fields).choose(Corpus(load_card("emoji"), Path(), stickers))


def stickers(count):
    return [Sticker(id=f"s{i}", path=f"s{i}.png", split="train") for i in range(count)]


LABELS = ("anger", "fear", "joy")


def labelled(count):
    """Three classes in turn; anger has a text, topics change by tens, every seventh is in test."""
    return [
        Sticker(
            id=f"s{i:03}",
            path=f"s{i:03}.png",
            split="test" if i % 7 == 0 else "validation" if i % 7 == 1 else "train",
            label=i % 3,
            label_name=LABELS[i % 3],
            text="hi" if i % 3 == 0 else None,
            topic="cats" if i // 10 % 2 else "dogs, wet",
        )
        for i in range(count)
    ]


def ids(found):
    return [sticker.id for sticker in found]


def test_limit_takes_the_first():
    assert [sticker.id for sticker in select(stickers(5), limit=2)] == ["s0", "s1"]


def test_same_seed_same_sample():
    assert select(stickers(50), sample=10, seed=1) == select(stickers(50), sample=10, seed=1)


def test_other_seed_other_sample():
    assert select(stickers(50), sample=10, seed=1) != select(stickers(50), sample=10, seed=2)


def test_sample_does_not_depend_on_the_order_of_the_corpus():
    forward, backward = (select(some, sample=10) for some in (stickers(50), stickers(50)[::-1]))
    assert {sticker.id for sticker in forward} == {sticker.id for sticker in backward}


def test_sample_keeps_the_order_of_the_corpus():
    drawn = [int(sticker.id[1:]) for sticker in select(stickers(50), sample=10)]
    assert drawn == sorted(drawn)


def test_sample_larger_than_the_corpus_is_all():
    assert len(select(stickers(5), sample=10)) == 5


@pytest.mark.parametrize("option", ["limit", "sample", "per_class"])
@pytest.mark.parametrize("count", [0, -1])
def test_count_that_is_not_positive(option, count):
    with pytest.raises(ValueError, match=rf"{option}\n  Input should be greater than or equal to 1"):
        select(stickers(5), **{option: count})


@pytest.mark.parametrize("text", ["s3\ns1\n", "s3\r\ns1\r\n", "\ufeffs3\n\ns1"])
def test_ids_from_a_file(tmp_path, text):
    (tmp_path / "ids.txt").write_bytes(text.encode())
    assert [sticker.id for sticker in select(stickers(5), ids=tmp_path / "ids.txt")] == ["s1", "s3"]


def test_unknown_id_is_named(tmp_path):
    (tmp_path / "ids.txt").write_text("s1\nnope\n")
    with pytest.raises(ValueError, match=r"1 id of .* is not in the corpus, the first is 'nope'"):
        select(stickers(5), ids=tmp_path / "ids.txt")


def test_missing_file_of_ids(tmp_path):
    with pytest.raises(FileNotFoundError, match="the file of ids"):
        select(stickers(5), ids=tmp_path / "ids.txt")


def test_file_of_ids_that_is_no_text(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no list of ids in UTF-8"):
        select(stickers(5), ids=tmp_path / "ids.txt")


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        (["label=anger"], lambda s: s.label_name == "anger"),
        (["label=anger, joy"], lambda s: s.label_name in ("anger", "joy")),
        (["label!=anger"], lambda s: s.label_name != "anger"),
        (["label!=anger,joy"], lambda s: s.label_name == "fear"),
        (["topic=cats"], lambda s: s.topic == "cats"),
        (["topic=dogs, wet"], lambda s: s.topic == "dogs, wet"),
        (["split=val"], lambda s: s.split == "validation"),
        (["text=yes"], lambda s: s.text),
        (["text=no"], lambda s: s.text is None),
        (["label=anger", "topic=cats", "split!=test"],
         lambda s: s.label_name == "anger" and s.topic == "cats" and s.split != "test"),
    ],
)  # fmt: skip
def test_conditions(where, fits):
    corpus = labelled(90)
    wanted = [sticker.id for sticker in corpus if fits(sticker)]
    assert 0 < len(wanted) < 90
    assert ids(select(corpus, where=where)) == wanted


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("label", "--where is 'label': give FIELD=VALUE"),
        ("mood=good", r"--where is 'mood=good'.* label, topic, split, subset, source, text"),
        ("label=angry", r"no sticker has the label 'angry' \(there is: anger, fear, joy\)"),
        ("subset=seen", r"no sticker has the subset 'seen' \(there is: none\)"),
        ("part=seen", r"no sticker has the subset 'seen' \(there is: none\)"),
        ("text=maybe", r"the text 'maybe' \(there is: no, yes\)"),
    ],
)
def test_condition_that_cannot_be_meant_is_refused(where, words):
    with pytest.raises(ValueError, match=words):
        select(labelled(30), where=[where])


def test_conditions_that_nothing_fits_together_are_named():
    with pytest.raises(ValueError, match=r"no sticker fits --where label=anger and --where text=no together"):
        select(labelled(30), where=["label=anger", "text=no"])


def test_per_class_is_balanced_and_keeps_the_order_of_the_corpus():
    drawn = select(labelled(90), per_class=8)
    assert class_counts(drawn) == {"anger": 8, "fear": 8, "joy": 8}
    assert ids(drawn) == sorted(ids(drawn))


def test_per_class_takes_all_of_a_small_class_and_none_without_a_label():
    corpus = [*labelled(30), *stickers(5)]
    rare = [sticker for sticker in corpus if sticker.label_name != "joy" or sticker.id < "s010"]
    assert class_counts(select(rare, per_class=8)) == {"anger": 8, "fear": 8, "joy": 3}


def test_per_class_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"--per-class needs labels.*--sample"):
        select(stickers(9), per_class=2)


def test_per_class_depends_on_ids_and_seed_alone():
    corpus = labelled(90)
    drawn = set(ids(select(corpus, per_class=8, seed=3)))
    shuffled = random.sample(corpus, len(corpus))
    assert set(ids(select(shuffled, per_class=8, seed=3))) == drawn
    assert set(ids(select(corpus, per_class=8, seed=4))) != drawn
    anger = {sticker.id for sticker in corpus if sticker.label_name == "anger"}
    assert set(ids(select(corpus, where=["label=anger"], per_class=8, seed=3))) == drawn & anger


@pytest.mark.parametrize("option", ["per_class", "sample"])
def test_larger_draw_holds_the_smaller_one(option):
    small, large = (set(ids(select(labelled(90), **{option: count}))) for count in (4, 9))
    assert small < large


def test_order_is_where_then_ids_then_draw_then_limit(tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(f"s{i:03}" for i in range(60)))
    corpus = labelled(90)
    options = {"where": ["label=anger,fear"], "ids": tmp_path / "ids.txt", "per_class": 5, "seed": 1}
    step = [s for s in corpus if s.label_name != "joy" and s.id < "s060"]
    drawn = select(step, per_class=5, seed=1)
    assert select(corpus, **options) == drawn
    assert select(corpus, **options, limit=3) == drawn[:3]


def test_two_ways_of_drawing_are_refused():
    with pytest.raises(ValueError, match="--per-class and --sample both draw"):
        select(labelled(9), per_class=1, sample=2)


@pytest.mark.parametrize("field", ["subset", "part"])
def test_subset_by_its_name_and_by_its_earlier_one(field):
    corpus = [replace(sticker, subset="seen" if i % 2 else "unseen") for i, sticker in enumerate(labelled(9))]
    assert ids(select(corpus, where=[f"{field}=seen"])) == ["s001", "s003", "s005", "s007"]
    assert len(select(corpus, where=[f"{field}!=seen"])) == 5
