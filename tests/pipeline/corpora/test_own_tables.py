"""A person's own data: tables in several formats and folders, with as little said as possible."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mghft.pipeline.corpora.card import Card, load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker

ROWS = [
    {"path": "a.png", "label": "joy", "split": "train", "text": "hi,\nyou"},
    {"path": "b.png", "label": "anger", "split": "dev", "text": None},
]
WANTED = [
    Sticker("a.png", "a.png", "train", 1, "joy", "hi,\nyou"),
    Sticker("b.png", "b.png", "validation", 0, "anger"),
]


def load(root, card="table"):
    return load_corpus(load_card(card), root)


def csv_of(root, text, name="memes.csv"):
    (root / name).write_text(text, encoding="utf-8")
    return root


def test_csv_without_a_card(tmp_path):
    csv_of(tmp_path, 'path,label,split,text\na.png,joy,train,"hi,\nyou"\nb.png,anger,dev,\n')
    corpus = load(tmp_path)
    assert corpus.stickers == WANTED and corpus.card.labels == ("anger", "joy")


def test_tab_separated_table(tmp_path):
    csv_of(tmp_path, "path\tlabel\na,b.png\tjoy\nc.png\tanger\n", "memes.tsv")
    assert load(tmp_path).stickers[0].path == "a,b.png"


def test_json_lines(tmp_path):
    csv_of(tmp_path, "\n".join(map(json.dumps, ROWS)) + "\n\n", "memes.jsonl")
    assert load(tmp_path).stickers == WANTED


def test_parquet(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "memes.parquet")
    assert load(tmp_path).stickers == WANTED


def test_parquet_with_a_nested_column_beside(tmp_path):
    pq.write_table(pa.Table.from_pylist([{**row, "more": {"a": 1}} for row in ROWS]), tmp_path / "m.parquet")
    assert load(tmp_path).stickers == WANTED


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("file_name,emotion,set,caption", "path from 'file_name', label from 'emotion', split from 'set'"),
        ("Image Path,Sentiment,Split,OCR", "path from 'Image Path', label from 'Sentiment'"),
        ("img,class,subset,sentence", "path from 'img', label from 'class'"),
    ],
)
def test_columns_by_their_usual_names_are_said(tmp_path, header, taken):
    corpus = load(csv_of(tmp_path, f"{header}\na.png,joy,train,hi\nb.png,anger,test,\n"))
    assert [sticker.label_name for sticker in corpus.stickers] == ["joy", "anger"]
    assert any(taken in note for note in corpus.notes)


def test_splits_by_any_of_their_names(tmp_path):
    names = ["Train", "training", "valid", "Dev", "VAL", "testing", "Extra"]
    rows = "".join(f"{i}.png,{'joy' if i % 2 else 'anger'},{name}\n" for i, name in enumerate(names))
    found = [sticker.split for sticker in load(csv_of(tmp_path, "path,label,split\n" + rows)).stickers]
    assert found == ["train", "train", "validation", "validation", "validation", "test", "Extra"]


def test_labels_found_in_the_data_are_said(tmp_path):
    notes = load(csv_of(tmp_path, "path,label\na.png,joy\nb.png,anger\n")).notes
    assert any("2 labels found in the column 'label': anger, joy" in note for note in notes)


def test_numbers_found_as_labels_stand_in_the_order_of_numbers(tmp_path):
    rows = "".join(f"{i}.png,{i}\n" for i in (10, 9, 0))
    assert load(csv_of(tmp_path, "path,label\n" + rows)).card.labels == ("0", "9", "10")


def mine(tmp_path, labels=("anger", "joy")):
    return Card(name="mine", title="", adapter="table", labels=labels, source=tmp_path)


def test_numbers_of_the_cards_labels(tmp_path):
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [1, 0]}), tmp_path / "m.parquet")
    corpus = load_corpus(mine(tmp_path), tmp_path)
    assert [sticker.label_name for sticker in corpus.stickers] == ["joy", "anger"]
    assert any("holds numbers" in note for note in corpus.notes)


def test_number_over_the_cards_last_label(tmp_path):
    csv_of(tmp_path, "path,label\na.png,2\n")
    with pytest.raises(ValueError, match=r"line 2: the label 2 is over 1"):
        load_corpus(mine(tmp_path), tmp_path)


def test_float_from_a_spreadsheet_is_its_whole_number(tmp_path):
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [1.0, None]}), tmp_path / "m.parquet")
    assert [sticker.label for sticker in load_corpus(mine(tmp_path), tmp_path).stickers] == [1, None]


def test_several_tables_take_the_one_with_a_usual_name(tmp_path):
    csv_of(tmp_path, "path,label\na.png,joy\nb.png,anger\n", "labels.csv")
    csv_of(tmp_path, "path,label\nz.png,joy\n", "a.csv")
    assert [sticker.id for sticker in load(tmp_path).stickers] == ["a.png", "b.png"]


def test_file_of_splits_beside_the_table_is_no_table(tmp_path):
    csv_of(tmp_path, "path,label\na.png,joy\nb.png,anger\n")
    csv_of(tmp_path, "id,split\na.png,train\nb.png,test\n", "mghft-split.csv")
    assert [sticker.split for sticker in load(tmp_path).stickers] == ["train", "test"]


@pytest.mark.parametrize("names", [[], ["x.csv", "y.jsonl"]])
def test_no_table_or_several(tmp_path, names):
    for name in names:
        csv_of(tmp_path, "path\n", name)
    said = "there is none" if not names else r"there are x\.csv, y\.jsonl"
    with pytest.raises(FileNotFoundError, match=f"needs one table .*{said}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("m.csv", b"label,split\njoy,train\n", "no column that looks like an image's path"),
        ("m.csv", b"path,label\na.png,joy\n", "fewer than two labels"),
        ("m.csv", b"path\n\xff\xfe\xfa\n", "no CSV in UTF-8"),
        ("m.csv", b"", "no column that looks like"),
        ("m.jsonl", b"[1]\n", "line 1: this is no JSON object"),
        ("m.jsonl", b"{\n", "no JSON object in each line"),
        ("m.jsonl", b"\xff\xfe\xfa", "no table of JSON lines in UTF-8"),
        ("m.jsonl", b"[" * 100_000, "no JSON object in each line"),
        ("m.parquet", b"PAR1 and nothing", "is no Parquet file"),
    ],
)
def test_table_that_cannot_be_read(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        load(tmp_path)


def test_too_many_labels_are_another_column(tmp_path):
    csv_of(tmp_path, "path,label\n" + "".join(f"{i}.png,word{i}\n" for i in range(1001)))
    with pytest.raises(ValueError, match=r"1001 different labels .* is it the right column"):
        load(tmp_path)


def test_damaged_parquet_is_a_sentence(tmp_path):
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"path": [f"{i}.png" for i in range(5000)]}), path, compression="none")
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Parquet"):
        load(tmp_path)


def folders(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [(s.id, s.split, s.label_name) for s in load(root, "folder").stickers]


def test_folder_per_class_without_a_card(tmp_path):
    assert folders(tmp_path, "joy/b.png", "anger/deep/er/a.GIF", "joy/notes.txt", "top.png") == [
        ("anger/deep/er/a.GIF", "all", "anger"),
        ("joy/b.png", "all", "joy"),
    ]


def test_folders_of_splits_without_a_card(tmp_path):
    assert folders(tmp_path, "Training/joy/b.png", "valid/anger/x/a.png", "test/joy/a.png") == [
        ("Training/joy/b.png", "train", "joy"),
        ("test/joy/a.png", "test", "joy"),
        ("valid/anger/x/a.png", "validation", "anger"),
    ]


def test_what_systems_leave_behind_is_no_sticker(tmp_path):
    names = ["joy/.thumb.png", ".cache/x/a.png", "__MACOSX/joy/b.png", "joy/c.png", "anger/d.png"]
    assert [name for name, _, _ in folders(tmp_path, *names)] == ["anger/d.png", "joy/c.png"]


def test_images_in_one_folder_are_no_classes(tmp_path):
    with pytest.raises(ValueError, match="all lie in one folder, 'joy'"):
        folders(tmp_path, "joy/a.png")


def test_new_class_is_another_corpus(tmp_path):
    folders(tmp_path, "joy/a.png", "anger/a.png")
    before = load(tmp_path, "folder").fingerprint()
    folders(tmp_path, "fear/a.png")
    assert load(tmp_path, "folder").fingerprint() != before


def test_card_of_five_lines(tmp_path):
    csv_of(tmp_path, "path,label\na.png,joy\nb.png,anger\n")
    card = tmp_path / "card.md"
    card.write_text("---\nmghft:\n  adapter: table\n  labels: [anger, joy]\n---\n")
    assert load(tmp_path, str(card)).stickers[0].label == 1


LABELLED_BY = """---
mghft:
  adapter: table
  labels: [anger, joy]
  columns: {path: path, label: label, split: split, label_source: by}
  variants:
    turn=1: {columns: {split: turn=1}}
---
"""


def test_who_gave_a_label_and_splits_of_a_variant_are_columns(tmp_path):
    (tmp_path / "own.md").write_text(LABELLED_BY, encoding="utf-8")
    csv_of(tmp_path, "path,label,split,by,turn=1\na.png,joy,train,crowd,test\nb.png,anger,test,,train\n")
    corpus = load(tmp_path, tmp_path / "own.md")
    assert [(s.split, s.label_source) for s in corpus.stickers] == [("train", "crowd"), ("test", None)]
    turned = load(tmp_path, f"{tmp_path}/own.md:turn=1")
    assert [sticker.split for sticker in turned.stickers] == ["test", "train"]


def test_a_table_from_before_the_sources_of_labels_is_read_and_it_is_said(tmp_path):
    (tmp_path / "own.md").write_text(LABELLED_BY, encoding="utf-8")
    csv_of(tmp_path, "path,label,split\na.png,joy,train\nb.png,anger,test\n")
    corpus = load(tmp_path, tmp_path / "own.md")
    assert [sticker.label_source for sticker in corpus.stickers] == [None, None]
    assert corpus.notes == ("memes.csv has no column 'by': labels are of one source",)


def test_an_emoji_folder_of_the_earlier_version_is_read(tmp_path):
    """Columns and splits as `mghft data build emoji` wrote them until then."""
    csv_of(
        tmp_path,
        "path,label,split,part,emoji,hexcode,name,style\n"
        "images/noto/1F31A.png,neutral,validation,,🌚,1F31A,new moon face,noto\n"
        "images/twemoji/1F31A.png,neutral,test,seen,🌚,1F31A,new moon face,twemoji\n",
        "stickers.csv",
    )
    for card in ("emoji", "emoji:v1"):
        stickers = load(tmp_path, card).stickers
        assert [(s.split, s.subset) for s in stickers] == [("validation", None), ("test", "seen")]
    with pytest.raises(ValueError, match="lacks the column fold=1 that the card emoji:fold=1 names"):
        load(tmp_path, "emoji:fold=1")
