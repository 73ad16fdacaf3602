"""The check of a corpus: what it calls a problem, what it notes, what it counts."""

from functools import partial

import pytest
from PIL import Image

from mghft.pipeline.audit import check
from mghft.pipeline.corpora.card import Card, Columns

# In this process: what other processes add is in test_check_images.py.
check_corpus = partial(check.check_corpus, workers=0)

GOOD = ["a.png,joy,train", "b.png,anger,train", "c.png,joy,test", "d.png,anger,test"]


def card(**fields):
    return Card(
        name="mine",
        title="Mine",
        adapter="table",
        labels=("anger", "joy"),
        file="a.csv",
        columns=Columns(path="path", label="label", split="split"),
        source="mine.md",
        **{"counts": {"train": 2, "test": 2}, **fields},
    )


@pytest.fixture
def root(tmp_path):
    for shade, name in enumerate("abcd"):
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(tmp_path / f"{name}.png")
    write(tmp_path, GOOD)
    return tmp_path


def write(root, rows):
    (root / "a.csv").write_text("\n".join(["path,label,split", *rows, ""]), encoding="utf-8")


def test_good_corpus_has_no_problem_and_no_note(root):
    found = check_corpus(card(), root)
    assert (found.problems, found.notes) == ([], [])


def test_counts_by_split_and_label(root):
    write(root, [*GOOD, "e.png,joy,train"])
    assert check_corpus(card(), root).counts == {
        "train": {"anger": 1, "joy": 2},
        "test": {"anger": 1, "joy": 1},
    }


def test_wrong_count_is_a_problem(root):
    found = check_corpus(card(counts={"train": 2, "test": 5}), root)
    assert found.problems == ["the split test has 2 stickers, the card says 5"]


def test_split_of_the_card_that_is_not_there(root):
    found = check_corpus(card(counts={"train": 2, "test": 2, "validation": 1}), root)
    assert found.problems == ["the split validation has 0 stickers, the card says 1"]


def test_split_without_a_count_is_a_note(root):
    found = check_corpus(card(counts={"train": 2}), root)
    assert (found.problems, found.notes) == ([], ["the card gives no count for the split test"])


def test_duplicate_across_splits_is_a_problem(root):
    (root / "c.png").write_bytes((root / "a.png").read_bytes())
    (problem,) = check_corpus(card(), root).problems
    assert "1 image in more than one split, byte for byte: a.png (train) = c.png (test)" in problem


def test_duplicate_within_a_split_is_a_note(root):
    (root / "d.png").write_bytes((root / "c.png").read_bytes())
    write(root, [*GOOD[:3], "d.png,joy,test", "b2.png,anger,test"])
    Image.new("RGB", (4, 4), (9, 9, 9)).save(root / "b2.png")
    found = check_corpus(card(counts={"train": 2, "test": 3}), root)
    assert found.problems == []
    assert found.notes == ["1 image more than once in one split, byte for byte: c.png (test) = d.png (test)"]


def test_duplicate_with_two_labels_is_noted(root):
    (root / "b.png").write_bytes((root / "a.png").read_bytes())
    assert any("a.png (joy) = b.png (anger)" in note for note in check_corpus(card(), root).notes)


def test_only_the_first_few_are_named(root):
    content = (root / "a.png").read_bytes()
    rows = []
    for i in range(6):
        (root / f"x{i}.png").write_bytes(content + bytes([i]))
        (root / f"y{i}.png").write_bytes(content + bytes([i]))
        rows += [f"x{i}.png,joy,train", f"y{i}.png,joy,test"]
    write(root, [*GOOD, *rows])
    (problem,) = check_corpus(card(counts={}), root).problems
    assert problem.startswith("6 images") and problem.count(" = ") == 3
    assert problem.endswith(" and 3 more")


def test_images_that_cannot_be_read_are_named_with_the_reason(root):
    (root / "a.png").write_text("no picture")
    (root / "b.png").unlink()
    (problem,) = check_corpus(card(), root).problems
    assert problem == (
        "2 images cannot be read: a.png (the file is no image that can be read); b.png (the file is missing)"
    )


def test_truncated_jpeg_is_found(root):
    Image.effect_noise((2000, 2000), 90).save(root / "a.png", "JPEG")
    content = (root / "a.png").read_bytes()
    (root / "a.png").write_bytes(content[: len(content) // 2])
    (problem,) = check_corpus(card(), root).problems
    assert "a.png (the image is damaged or truncated" in problem


def test_missing_labels_are_a_problem(root):
    write(root, [GOOD[0], "b.png,,train", *GOOD[2:]])
    found = check_corpus(card(), root)
    assert found.problems == ["1 sticker without a label: b.png"]
    assert found.counts["train"] == {"anger": 0, "joy": 1, "(none)": 1}


def test_label_that_nobody_has_is_a_problem(root):
    write(root, [row.replace("anger", "joy") for row in GOOD])
    assert "no sticker at all has the label anger" in check_corpus(card(), root).problems


def test_label_missing_in_one_split_is_a_note(root):
    write(root, [*GOOD[:3], "d.png,joy,test"])
    assert check_corpus(card(), root).notes == ["the split test has no sticker of anger"]


def test_counts_under_other_labels_are_a_problem(root):
    write(root, [*GOOD[:3], "d.png,joy,test"])
    (problem,) = check_corpus(card(label_counts={"test": {"anger": 2, "joy": 0}}), root).problems
    assert "under other labels (anger 0, not 2; joy 2, not 0)" in problem


def test_other_label_counts_are_a_note(root):
    found = check_corpus(card(label_counts={"test": {"anger": 1, "joy": 3}}), root)
    assert found.problems == []
    assert found.notes == ["the split test has other counts than the card says: joy 1, not 3"]


def test_progress_reaches_the_end(root):
    seen = []
    check_corpus(card(), root, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="the data folder"):
        check_corpus(card(), tmp_path / "gone")
