"""Splits made after describing: rows keep the old ones, exports say so or take the corpus'."""

from __future__ import annotations

import json

import pytest
from describe_bench import KnownEngine, config, make_corpus, run

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.exports.mghft_annotations import export_annotations
from mghft.pipeline.runs.split_difference import split_difference


@pytest.fixture
def card(tmp_path):
    """A corpus without splits, described, which has a file of splits since."""
    card = make_corpus(tmp_path / "data", 10)
    table = tmp_path / "data" / "stickers.csv"
    table.write_text(table.read_text().replace(",train", ",").replace(",test", ","))
    run(config(card, tmp_path / "out"), KnownEngine())
    places = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    rows = [f"images/{number:04d}.png,{split}" for number, split in enumerate(places)]
    (tmp_path / "splits.csv").write_text("\n".join(["id,split", *rows]))
    return card


def corpus(card, splits=""):
    return load_corpus(load_card(f"{card}{splits}"), card.parent)


def test_rows_without_a_split_are_an_error_with_the_way_out(card, tmp_path):
    with pytest.raises(ValueError, match=r"of no split with a file .*there is: all 10.* CARD --data ROOT"):
        export_annotations(tmp_path / "out", tmp_path / "mg")
    assert not (tmp_path / "mg").exists()


def test_splits_and_labels_of_the_corpus_are_taken(card, tmp_path):
    table = tmp_path / "data" / "stickers.csv"
    table.write_text(table.read_text().replace("0000.png,bright", "0000.png,dark"))
    now = corpus(card, f"@{tmp_path}/splits.csv")
    done = export_annotations(tmp_path / "out", tmp_path / "mg", corpus=now)
    assert list(done.files.values()) == [6, 2, 2] and done.skipped.total() == 0
    place = tmp_path / "mg" / "Annotations_mg" / "image-level"
    rows = json.loads((place / "train.json").read_text())["annotations"]
    assert {row["file_name"]: row["anno"] for row in rows}["0000.png"] == 1
    assert {row["file_name"] for row in rows} == {f"{number:04d}.png" for number in range(6)}


def test_corpus_without_splits_names_the_command(card, tmp_path):
    with pytest.raises(ValueError, match=r"has no split with a file .*all 10.*'mghft data split'"):
        export_annotations(tmp_path / "out", tmp_path / "mg", corpus=corpus(card))


def test_rows_of_no_sticker_of_the_corpus_are_counted(card, tmp_path):
    (tmp_path / "few.csv").write_text("id,split\nimages/0001.png,train\n")
    now = corpus(card, f"@{tmp_path}/few.csv")
    done = export_annotations(tmp_path / "out", tmp_path / "mg", corpus=now)
    assert list(done.files.values()) == [1, 0, 0]
    assert len(done.skipped.groups["not in the corpus"]) == 9


def test_run_without_a_label_is_no_empty_export(tmp_path):
    card = make_corpus(tmp_path / "data", 6)
    table = tmp_path / "data" / "stickers.csv"
    table.write_text(table.read_text().replace("dark", "").replace("bright", ""))
    run(config(card, tmp_path / "out"), KnownEngine())
    with pytest.raises(ValueError, match="has both a description and a label"):
        export_annotations(tmp_path / "out", tmp_path / "mg")
    assert not (tmp_path / "mg").exists()


def test_difference_of_splits_is_one_sentence(card, tmp_path):
    now = corpus(card, f"@{tmp_path}/splits.csv")
    found = split_difference(tmp_path / "out", now)
    assert found is not None and found.startswith(f"10 rows of {tmp_path / 'out'} say another split than")
    assert found.endswith("(rows: all 10; corpus: train 6, validation 2, test 2)")
    assert split_difference(tmp_path / "out", corpus(card)) is None
