"""Duplicates: what counts as one, what leaks, what the files hold, what is never replaced."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from mghft.pipeline.audit.duplicates import PairCounts, TopicCounts, find_duplicates
from mghft.pipeline.audit.duplicates_report import summarize, write_report
from mghft.pipeline.audit.hashes import fingerprint
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Corpus, Sticker


def drawing(seed, size=128):
    """A drawing that no other seed gives, on a transparent ground."""
    random = np.random.default_rng(seed)
    image = Image.new("RGBA", (size, size), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, wide, high = (random.integers(8, 56, 4) * size // 128).tolist()
        draw.ellipse((x, y, x + wide, y + high), fill=(*random.integers(0, 256, 3).tolist(), 255))
    return image


def flat(image):
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


@pytest.fixture
def build(tmp_path):
    """A corpus of (file, image or bytes, split, label[, topic])."""

    def make(*entries, labels=("anger", "joy")):
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        stickers = []
        for name, image, split, label, *topic in entries:
            if isinstance(image, bytes):
                (root / name).write_bytes(image)
            else:
                image.save(root / name, quality=70)
            stickers.append(Sticker(name, name, split, labels.index(label), label, None, None, *topic))
        card = Card(name="mine", title="Mine <b>", adapter="folder", labels=labels, source="mine.md")
        return Corpus(card, root, stickers)

    return make


def find(corpus, **options):
    return find_duplicates(corpus, workers=0, **options)


def kinds(found):
    return [(pair.kind, {pair.first.id, pair.second.id}) for pair in found.pairs]


def test_different_drawings_are_no_duplicates(build):
    corpus = build(*((f"{n}.png", drawing(n), "train", "joy") for n in range(20)))
    assert find(corpus).pairs == []


def test_same_bytes_and_same_pixels_are_told_apart(build):
    first = drawing(1)
    corpus = build(("a.png", first, "train", "joy"), ("b.png", drawing(2), "train", "joy"))
    content = (corpus.root / "a.png").read_bytes()
    corpus = build(
        ("a.png", first, "train", "joy"),
        ("copy.png", content, "train", "joy"),
        ("again.webp", first, "train", "joy"),
    )
    first.save(corpus.root / "again.webp", lossless=True)
    assert sorted(kinds(find(corpus, near=0))) == [
        ("bytes", {"a.png", "copy.png"}),
        ("pixels", {"a.png", "again.webp"}),
    ]


def test_transparent_art_is_compared_on_white(build):
    corpus = build(("a.png", drawing(1), "train", "joy"), ("b.png", flat(drawing(1)), "train", "joy"))
    assert kinds(find(corpus)) == [("pixels", {"a.png", "b.png"})]


def test_an_animation_is_compared_by_its_first_frame(build, tmp_path):
    moving = tmp_path / "moving.png"
    flat(drawing(1)).save(moving, save_all=True, append_images=[flat(drawing(2))])
    corpus = build(
        ("a.png", moving.read_bytes(), "train", "joy"),
        ("b.png", flat(drawing(1)), "train", "joy"),
        ("c.png", flat(drawing(2)), "train", "joy"),
    )
    assert kinds(find(corpus)) == [("pixels", {"a.png", "b.png"})]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda image: image, "near"),
        (lambda image: image.resize((80, 80)), "near"),
        (lambda image: image.crop((2, 1, 126, 127)), "near"),
        (lambda image: ImageOps.expand(image, 12, "white"), "near"),
        (ImageOps.mirror, "mirrored"),
    ],
    ids=["encoded anew", "smaller", "cropped", "wider margin", "mirrored"],
)
def test_changed_copies_are_near_duplicates(build, change, kind):
    others = [(f"{n}.png", drawing(n), "train", "joy") for n in range(10)]
    corpus = build(*others, ("copy.jpg", change(flat(drawing(4))), "train", "joy"))
    assert kinds(find(corpus)) == [(kind, {"4.png", "copy.jpg"})]


def test_the_threshold_decides(build):
    corpus = build(("a.png", drawing(1), "train", "joy"), ("b.jpg", flat(drawing(1)), "train", "joy"))
    (pair,) = find(corpus).pairs
    assert 0 < pair.difference < 15
    assert find(corpus, near=pair.difference - 0.1).pairs == []
    assert find(corpus, near=0).pairs == []


def test_pairs_are_found_across_the_blocks_of_the_search(build):
    entries = [(f"{n}.png", drawing(n, 32), "train", "joy") for n in range(150)]
    corpus = build(
        *entries, ("copy.png", drawing(3, 32).resize((64, 64), Image.Resampling.BOX), "train", "joy")
    )
    assert ("near", {"3.png", "copy.png"}) in kinds(find(corpus))


def test_images_that_cannot_be_read_are_named(build):
    corpus = build(("a.png", b"none", "train", "joy"), ("b.png", drawing(1), "train", "joy"))
    found = find(corpus)
    assert found.errors == [("a.png", "the file is no image that can be read")]
    assert "1 image could not be compared, the first is a.png" in summarize(found)[-1]


# ---- leaks, labels, topics


@pytest.fixture
def leaky(build):
    """1 is in all splits (equal), 2 in train and validation (near), 3 in one split under two labels."""
    return build(
        ("1-train.png", drawing(1), "train", "joy"),
        ("1-validation.png", drawing(1), "validation", "joy"),
        ("1-test.png", drawing(1), "test", "anger"),
        ("2-train.png", drawing(2), "train", "joy"),
        ("2-validation.jpg", flat(drawing(2)), "validation", "joy"),
        ("3-a.png", drawing(3), "train", "joy"),
        ("3-b.png", drawing(3), "train", "anger"),
        ("4-train.png", drawing(4), "train", "joy"),
        ("5-test.png", drawing(5), "test", "joy"),
    )


def test_leaks_are_the_stickers_whose_picture_is_in_a_later_split(leaky):
    assert find(leaky).leaks == {
        "1-train.png": ("1-test.png", "equal"),
        "1-validation.png": ("1-test.png", "equal"),
        "2-train.png": ("2-validation.jpg", "near"),
    }


def test_a_near_copy_leaks_through_an_equal_one(build):
    """The near duplicate of a picture in train is in train too; an equal picture of that one is in test."""
    corpus = build(
        ("a.jpg", flat(drawing(1)), "train", "joy"),
        ("b.png", drawing(1), "train", "joy"),
        ("c.png", drawing(1), "test", "joy"),
    )
    found = find(corpus)
    assert set(found.leaks) == {"a.jpg", "b.png"}
    assert [(pair.kind, pair.across_splits) for pair in found.pairs] == [("bytes", True), ("near", True)]


def test_a_corpus_without_splits_leaks_nothing(build):
    corpus = build(("a.png", drawing(1), "all", "joy"), ("b.png", drawing(1), "all", "joy"))
    found = find(corpus)
    assert (len(found.pairs), found.leaks) == (1, {})


def test_worst_pairs_come_first(leaky):
    ids = [{pair.first.id, pair.second.id} for pair in find(leaky).pairs]
    assert ids[0] == {"1-train.png", "1-test.png"}
    assert ids.index({"2-train.png", "2-validation.jpg"}) < ids.index({"3-a.png", "3-b.png"}) == len(ids) - 1


def test_label_conflicts_are_counted(leaky):
    counts = find(leaky).counts()
    assert counts["bytes"] == PairCounts(pairs=3, across_splits=2, two_labels=2)
    assert counts["near"] == PairCounts(pairs=1, across_splits=1, two_labels=0)


def test_topics_in_train_and_test_are_counted(build):
    corpus = build(
        ("1.png", drawing(1), "train", "joy", "cat"),
        ("2.png", drawing(2), "train", "joy", "dog"),
        ("3.png", drawing(3), "test", "joy", "cat"),
        ("4.png", drawing(4), "test", "joy", "cat"),
        ("5.png", drawing(5), "test", "joy", "owl"),
    )
    found = find(corpus)
    assert found.topics == TopicCounts(train=2, test=2, shared=1, test_stickers=3, test_stickers_of_shared=2)
    lines = "\n".join(summarize(found))
    assert (
        "topics: 2 in train, 2 in test, 1 in both; 2 of 3 test stickers of a topic that train knows" in lines
    )
    assert "says nothing about sticker sets that were never seen" in lines


# ---- files


def test_table_and_figures_hold_the_findings(leaky, tmp_path):
    write_report(find(leaky), tmp_path / "out")
    with (tmp_path / "out" / "duplicates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert (rows[0]["kind"], rows[0]["across_splits"], rows[0]["two_labels"]) == ("bytes", "True", "True")
    assert {rows[0]["id_a"], rows[0]["id_b"]} == {"1-train.png", "1-test.png"}
    figures = json.loads((tmp_path / "out" / "duplicates.json").read_text("utf-8"))
    assert figures["pairs"]["near"] == {"pairs": 1, "across_splits": 1, "two_labels": 0}
    assert figures["topics"] == {}
    assert figures["leaks"]["2-train.png"] == {
        "of": "2-validation.jpg",
        "kind": "near",
        "split": "train",
        "other_split": "validation",
    }


def test_clean_split_keeps_test_whole_and_everything_else_that_does_not_leak(leaky, tmp_path):
    write_report(find(leaky), tmp_path / "out", drop_leaks=True)
    assert (tmp_path / "out" / "clean-split.csv").read_text("utf-8").splitlines() == [
        "id,split",
        "1-test.png,test",
        "2-validation.jpg,validation",
        "3-a.png,train",
        "3-b.png,train",
        "4-train.png,train",
        "5-test.png,test",
    ]


def test_a_clean_split_is_never_replaced(leaky, tmp_path):
    (tmp_path / "clean-split.csv").write_text("mine", encoding="utf-8")
    found = find(leaky)
    with pytest.raises(
        ValueError, match=r"clean-split\.csv already exists: give another with --out, or move it"
    ):
        write_report(found, tmp_path, drop_leaks=True)
    assert (tmp_path / "clean-split.csv").read_text("utf-8") == "mine"
    assert not (tmp_path / "duplicates.csv").exists()
    assert len(write_report(found, tmp_path)) == 3


def test_nothing_in_the_corpus_changes(leaky, tmp_path):
    def state():
        return {path.name: path.read_bytes() for path in sorted(leaky.root.iterdir())}

    before = state()
    write_report(find(leaky), tmp_path / "out", drop_leaks=True)
    assert state() == before


def test_page_shows_pairs_side_by_side_and_loads_nothing(build, tmp_path):
    hostile = "<img src=x onerror=alert(1)>.png"
    corpus = build(
        (hostile, drawing(1), "train", "joy"), ("b.png", drawing(1), "test", "<i>"), labels=("joy", "<i>")
    )
    write_report(find(corpus), tmp_path / "out")
    page = (tmp_path / "out" / "duplicates.html").read_text("utf-8")
    assert page.count("<article") == 1 and page.count("data:image/webp;base64,") == 2
    assert "<img src=x" not in page and "&lt;img src=x onerror" in page and "&lt;i&gt;" in page
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in page and "<script" not in page
    assert not re.search(r"https?://|url\(", page)


def test_page_names_how_many_pairs_it_leaves_out(leaky, tmp_path):
    write_report(find(leaky), tmp_path / "out", shown=1)
    page = (tmp_path / "out" / "duplicates.html").read_text("utf-8")
    assert page.count("<article") == 1 and "The worst 1 of 4 pairs" in page


def test_a_page_of_another_kind_is_left_alone(leaky, tmp_path):
    (tmp_path / "duplicates.html").write_text("<p>mine", encoding="utf-8")
    with pytest.raises(ValueError, match="already exists and is no page of duplicates"):
        write_report(find(leaky), tmp_path)
    assert (tmp_path / "duplicates.html").read_text("utf-8") == "<p>mine"


def test_an_answer_of_a_process_holds_no_pixels_beyond_two_thumbnails(build):
    corpus = build(("a.png", drawing(1, 1024), "train", "joy"))
    assert len(json.dumps(fingerprint(corpus.root, "a.png"))) < 10_000
