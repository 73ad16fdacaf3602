"""Annotations of the released code come back as a run: the rule of splitting, its breaches, a round trip."""

from __future__ import annotations

import json
import re

import pytest
from describe_bench import KnownEngine, config, make_corpus, run

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.exports.import_mghft_annotations import PatternError, import_annotations, split_text
from mghft.pipeline.exports.mghft_annotations import export_annotations
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import failed_rows, run_status, verify_run
from mghft.pipeline.views import VIEWS, ViewError

GOOD = (
    "#The sticker's intention is to greet #The sticker's style is flat "
    "#The sticker's main role is a cat #The sticker's gesture is a wave"
)
GOOD_VIEWS = {"content": "a cat", "style": "flat", "intention": "to greet", "details": "a wave"}


def released_count(text):
    """How many pieces the released parser finds, written from its description."""
    return len(re.split(r"(#The sticker's (?:intention|style|main role|gesture))", text)) // 2


@pytest.fixture
def corpus(tmp_path):
    card = make_corpus(tmp_path / "data", 10)
    return load_corpus(load_card(card), card.parent)


def annotate(folder, rows, name="train"):
    place = folder / "Annotations_mg" / "image-level"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.json").write_text(json.dumps({"annotations": rows}), encoding="utf-8")
    return folder


def row(number, text=GOOD, **fields):
    label = 2 if number % 2 == 0 else 1
    return {"topic": "images", "file_name": f"{number:04d}.png", "anno": label, "text": text, **fields}


def test_four_markers_in_order_give_four_views():
    assert split_text(GOOD) == GOOD_VIEWS


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(" #", "#"),
        GOOD.replace(" #", "\n\n#"),
        f"Sure! Here it is: {GOOD}",
        GOOD.replace(" is ", ": "),
        GOOD.replace("intention is", "intentions are").replace("role is", "roles are"),
        GOOD.replace(" is ", " "),
    ],
)
def test_what_the_released_parser_takes_is_taken(text):
    assert released_count(text) == 4
    assert split_text(text) == GOOD_VIEWS


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("#The sticker's gesture", "#The sticker's posture"),
        GOOD.replace("#The", "# The"),
        GOOD.replace("#The", "#the"),
        GOOD.replace("'", "’"),
        GOOD.replace("#", ""),
        f"{GOOD} #The sticker's style is flat",
        "a cat waves",
        "",
    ],
)
def test_what_breaks_the_released_parser_is_refused(text):
    assert released_count(text) != 4
    with pytest.raises(PatternError, match=r"the text has \d markers, not four: #The sticker's"):
        split_text(text)


def test_four_markers_in_another_order_are_refused():
    text = GOOD.replace("intention", "x").replace("style", "intention").replace("'s x", "'s style")
    assert released_count(text) == 4
    with pytest.raises(PatternError, match="in the order style, intention, content, details, not intention"):
        split_text(text)


def test_an_empty_view_is_refused():
    with pytest.raises(ViewError, match="the view style is empty"):
        split_text(GOOD.replace("flat", ""))


def test_a_word_that_only_begins_like_the_link_stays():
    assert split_text(GOOD.replace("is flat", "isometric"))["style"] == "isometric"
    assert split_text(GOOD.replace("is to greet", "is is it"))["intention"] == "is it"


def test_exported_run_comes_back_with_the_same_views(tmp_path):
    card = make_corpus(tmp_path / "data", 20)
    failing = KnownEngine(
        lambda request, text: "no" if "0003" in request.key.sticker_id else text, backwards=False
    )
    run(config(card, tmp_path / "run"), failing)
    export_annotations(tmp_path / "run", tmp_path / "mg")
    corpus = load_corpus(load_card(card), card.parent)
    report = import_annotations(tmp_path / "mg", corpus, tmp_path / "again")
    assert (report.rows, report.ok) == (20, 19)
    columns = ["sticker_id", "path", "split", "label", "label_name", *VIEWS, "status"]
    first = read_descriptions(tmp_path / "run").select(columns).to_pylist()
    again = read_descriptions(tmp_path / "again").select(columns).to_pylist()
    by_id = sorted(first, key=lambda row: row["sticker_id"])
    assert sorted(again, key=lambda row: row["sticker_id"]) == by_id
    export_annotations(tmp_path / "again", tmp_path / "mg2")
    for name in ("train", "val", "test"):
        place = f"Annotations_mg/image-level/{name}.json"
        texts = [
            json.loads((tmp_path / mg / place).read_text("utf-8"))["annotations"] for mg in ("mg", "mg2")
        ]
        assert sorted(texts[0], key=str) == sorted(texts[1], key=str)


def test_every_sticker_has_a_row_and_the_run_is_whole(corpus, tmp_path):
    annotate(tmp_path / "mg", [row(1), row(2, "no marker"), row(3, GOOD.replace("flat", "")), row(4, None)])
    report = import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    assert verify_run(tmp_path / "run", corpus) == []
    assert (report.rows, report.ok) == (10, 1)
    reasons = dict(failed_rows(tmp_path / "run"))
    assert len(reasons) == 9
    assert reasons["images/0002.png"].startswith("the text has 0 markers, not four")
    assert reasons["images/0003.png"] == "the view style is empty"
    assert reasons["images/0004.png"] == "the annotation has no text (train.json, row 3)"
    assert reasons["images/0005.png"] == "the annotation files have no row of this sticker"
    assert report.lines() == [
        "10 stickers: 1 with four views, 9 failed",
        "stickers without a row, failed: 6 (images/0000.png, images/0005.png, images/0006.png and 3 more)",
        "rows that break the rule of four markers in order, failed: 1 (images/0002.png)",
        "rows with an unusable view, failed: 1 (images/0003.png)",
        "rows whose text is missing or no text, failed: 1 (images/0004.png)",
    ]


def test_text_of_a_failed_row_is_kept(corpus, tmp_path):
    annotate(tmp_path / "mg", [row(2, "no \ud800 marker")])
    import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    rows = {found["sticker_id"]: found for found in read_descriptions(tmp_path / "run").to_pylist()}
    assert rows["images/0002.png"]["raw"] == "no ? marker"


def test_odd_rows_are_counted_and_named(corpus, tmp_path):
    annotate(
        tmp_path / "mg",
        [
            row(1),
            row(1),
            row(5),
            row(2, anno=7),
            row(99),
            row(3, f"Hello {GOOD}"),
            {"text": GOOD},
            "text",
            row(4, file_name="../../0004.png"),
        ],
    )
    report = import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    groups = {name.split(",")[0]: names for name, names in report.remarks.groups.items()}
    assert groups["rows without a topic and a file name"] == ["train.json, row 6", "train.json, row 7"]
    assert groups["rows of no sticker of the corpus"] == ["images/0099.png", "images/../../0004.png"]
    assert groups["further rows of a sticker that has one already"] == ["train.json, row 1"]
    assert groups["rows in the file of another split than the corpus'"] == ["images/0005.png"]
    assert groups["rows with another label than the corpus'"] == ["images/0002.png"]
    assert groups["texts with words before the first marker"] == ["images/0003.png"]


def test_manifest_and_status_say_where_the_texts_came_from(corpus, tmp_path):
    annotate(tmp_path / "mg", [row(1)])
    import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    manifest = read_manifest(tmp_path / "run")
    assert manifest["imported"]["format"] == "Annotations_mg"
    assert list(manifest["imported"]["sha256"]) == ["train.json"]
    assert run_status(tmp_path / "run")["model"] == "unknown (imported)"


def test_a_folder_that_holds_a_run_is_left_alone(corpus, tmp_path):
    annotate(tmp_path / "mg", [row(1)])
    import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    with pytest.raises(ValueError, match=r"a run already exists in the folder .*: give another with --out"):
        import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
    assert read_descriptions(tmp_path / "run").num_rows == 10


@pytest.mark.parametrize("content", ["[]", '{"annotations": {}}', "{", "[" * 100_000, '{"rows": []}'])
def test_a_file_of_another_shape_is_one_sentence(corpus, tmp_path, content):
    (tmp_path / "train.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.json is no JSON object with a list 'annotations'"):
        import_annotations(tmp_path, corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_annotations_at_all(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train\.json, val\.json or test\.json in"):
        import_annotations(tmp_path, corpus, tmp_path / "run")


def test_annotations_of_another_corpus_are_refused(corpus, tmp_path):
    annotate(tmp_path / "mg", [row(1, topic="elsewhere")])
    with pytest.raises(ValueError, match=r"no row of .* is of a sticker of the corpus squares"):
        import_annotations(tmp_path / "mg", corpus, tmp_path / "run")
