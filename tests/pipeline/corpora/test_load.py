"""Corpora read by their cards."""

import os
import random

import pytest
from PIL import Image

from mghft.pipeline.corpora.card import Card, Columns, load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.text import printable, unprintable

LABELS = ("anger", "joy")
FULL = Columns(path="path", label="label", split="split", text="text", subset="part")


def table(columns=FULL, **fields):
    return Card(
        name="mine",
        title="Mine",
        adapter="table",
        labels=LABELS,
        file="a.csv",
        columns=columns,
        source="mine.md",
        **fields,
    )


def write(root, *rows, header="path,label,split,text,part", encoding="utf-8"):
    (root / "a.csv").write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return root


def test_table_row_is_a_sticker(tmp_path):
    corpus = load_corpus(table(), write(tmp_path, 'x/a b.png,joy,val,"hi, you\nthere",seen'))
    assert corpus.stickers == [
        Sticker("x/a b.png", "x/a b.png", "validation", 1, "joy", "hi, you\nthere", "seen")
    ]


def test_empty_cells_are_absent(tmp_path):
    (sticker,) = load_corpus(table(), write(tmp_path, "a.png,,,,")).stickers
    assert (sticker.label, sticker.label_name, sticker.text, sticker.subset) == (None, None, None, None)
    assert sticker.split == "all"


def test_table_without_optional_columns(tmp_path):
    corpus = load_corpus(table(Columns(path="path")), write(tmp_path, "a.png", header="path"))
    assert corpus.stickers == [Sticker("a.png", "a.png", "all")]


def test_byte_order_mark_is_no_part_of_the_header(tmp_path):
    write(tmp_path, "a.png,joy,train,,", encoding="utf-8-sig")
    assert len(load_corpus(table(), tmp_path).stickers) == 1


def test_sticker_listed_twice(tmp_path):
    with pytest.raises(ValueError, match=r"the sticker 'a\.png' is duplicated in the corpus mine"):
        load_corpus(table(), write(tmp_path, "a.png,joy,train,,", "a.png,joy,test,,"))


def test_unknown_label_names_the_line(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv, line 3: the label 'rage' is not one of .*anger, joy"):
        load_corpus(table(), write(tmp_path, "a.png,joy,train,,", "b.png,rage,train,,"))


def test_empty_path_names_the_line(tmp_path):
    with pytest.raises(ValueError, match=r"line 2: the column 'path' is empty"):
        load_corpus(table(), write(tmp_path, ",joy,train,,"))


def test_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="lacks the column text, part"):
        load_corpus(table(), write(tmp_path, "a.png,joy,train", header="path,label,split"))


def test_short_row_is_refused_with_its_line(tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv, line 3: the row has 2 cells where the header has 5"):
        load_corpus(table(), write(tmp_path, "b.png,joy,train,,", "a.png,joy"))


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-le", "utf-8-sig"])
def test_table_in_another_encoding(tmp_path, encoding):
    (sticker,) = load_corpus(table(), write(tmp_path, "a.png,joy,train,你好,", encoding=encoding)).stickers
    assert (sticker.label_name, sticker.text) == ("joy", "你好")


def test_table_with_a_monstrous_cell_is_a_sentence(tmp_path):
    write(tmp_path, "a.png,joy,train," + "x" * 200_000 + ",")
    with pytest.raises(ValueError, match="line 2: field larger than field limit"):
        load_corpus(table(), tmp_path)


def test_table_without_rows(tmp_path):
    with pytest.raises(ValueError, match="has no stickers"):
        load_corpus(table(), write(tmp_path))


def test_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs the file a\.csv"):
        load_corpus(table(), tmp_path)


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the data folder .* does not exist"):
        load_corpus(table(), tmp_path / "gone")


def test_split_by_its_other_name(tmp_path):
    corpus = load_corpus(table(), write(tmp_path, "a.png,joy,dev,,", "b.png,joy,train,,"))
    assert [sticker.id for sticker in corpus.split("val")] == ["a.png"]


def test_empty_split_names_those_that_are_there(tmp_path):
    corpus = load_corpus(table(), write(tmp_path, "a.png,joy,val,,", "b.png,joy,train,,"))
    with pytest.raises(ValueError, match=r"no sticker in the split 'test'; it has: train, validation"):
        corpus.split("test")


def test_new_stickers_do_not_change_the_fingerprint(tmp_path):
    before = load_corpus(table(), write(tmp_path, "a.png,joy,val,,")).fingerprint()
    assert load_corpus(table(), write(tmp_path, "b.png,joy,val,,")).fingerprint() == before


def test_other_labels_change_the_fingerprint(tmp_path):
    write(tmp_path, "a.png,joy,val,,")
    other = table().model_copy(update={"labels": ("joy", "anger")})
    assert load_corpus(table(), tmp_path).fingerprint() != load_corpus(other, tmp_path).fingerprint()


def folder_of(root, *names):
    """A folder corpus of pictures, one class, named by bytes."""
    folder = root / "joy"
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (1, 1), (number, 0, 0)).save(folder / os.fsdecode(name), "PNG")
    return load_corpus(Card(name="f", title="F", adapter="folder", labels=LABELS, source="f.md"), root)


def test_undecodable_name_is_an_ordinary_sticker(tmp_path):
    (sticker,) = folder_of(tmp_path, b"a\xff\xe4.png").stickers
    assert sticker.id == r"joy/a\xff\xe4.png"
    assert decode_image(tmp_path, sticker.path).size == (1, 1)


def test_undecodable_name_and_its_spelled_out_twin_stay_two(tmp_path):
    names = [
        b"a\xff.png",
        rb"a\xff.png",
        rb"a\x5cxff.png",
        b"a\\\xff.png",
        rb"a\xFF.png",
        "\xff.png".encode(),
    ]
    corpus = folder_of(tmp_path, *names)
    assert len({sticker.id for sticker in corpus.stickers}) == len(names)
    for sticker in corpus.stickers:
        assert (sticker.id.encode().decode(), unprintable(sticker.id)) == (sticker.id, sticker.path)
        assert decode_image(tmp_path, sticker.path).getpixel((0, 0))[0] == names.index(
            os.fsencode(sticker.path).removeprefix(b"joy/")
        )


@pytest.mark.parametrize("name", ["a b.png", "😀.png", "a\nb.png", "ü\\n.png", r"a\x41.png", "%ff.png"])
def test_id_of_an_ordinary_name_is_the_name(tmp_path, name):
    (sticker,) = folder_of(tmp_path, name.encode()).stickers
    assert sticker.id == sticker.path == f"joy/{name}"


def test_undecodable_split_can_be_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff") / "joy"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    card = Card(name="f", title="F", adapter="folder", labels=LABELS, source="f.md")
    assert load_corpus(card, tmp_path).stickers[0].split == r"\xff"


def test_every_name_has_a_text_of_its_own():
    draw = random.Random(0)
    for _ in range(2000):
        name = b"".join(draw.choices([b"\\", b"x", b"5c", b"ff", b"u", b"dcff", b"\xff", "ü".encode()], k=8))
        text = printable(os.fsdecode(name))
        text.encode("utf-8")
        assert os.fsencode(unprintable(text)) == name


def test_folder_per_class(tmp_path):
    for name in ("train/joy/b.PNG", "train/anger/a.jpg", "val/joy/c.webp", "val/joy/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    card = Card(name="f", title="F", adapter="folder", labels=LABELS, source="f.md")
    found = [(s.id, s.split, s.label_name) for s in load_corpus(card, tmp_path).stickers]
    assert found == [
        ("train/anger/a.jpg", "train", "anger"),
        ("train/joy/b.PNG", "train", "joy"),
        ("val/joy/c.webp", "validation", "joy"),
    ]


def files_in(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_folders_of_splits_without_classes_are_no_labels(tmp_path):
    files_in(tmp_path, "train/0.png", "train/1.png", "Val/2.png", "test/metadata.jsonl")
    with pytest.raises(ValueError, match=r"folders of splits \(Val, train\) and in no folder of a class"):
        load_corpus(load_card("folder"), tmp_path)


def test_image_in_the_folder_of_a_split_is_left_out_with_its_reason(tmp_path):
    files_in(tmp_path, "train/joy/0.png", "train/anger/1.png", "train/2.png")
    corpus = load_corpus(load_card("folder"), tmp_path)
    assert corpus.card.labels == ("anger", "joy")
    assert corpus.skipped == (("train/2.png", "it lies in the folder of a split, not in that of a class"),)


def test_every_file_below_the_root_is_taken_or_counted(tmp_path):
    files_in(tmp_path, "joy/a.jfif", "joy/b.jpe", "joy/c.ico", "anger/d.PNG", "joy/e.psd", "joy/f.svg")
    files_in(tmp_path, "anger/g.psd", "anger/h", "anger/.hidden", "cover.png")
    corpus = load_corpus(load_card("folder"), tmp_path)
    assert [sticker.path for sticker in corpus.stickers] == [
        *("anger/d.PNG", "joy/a.jfif", "joy/b.jpe", "joy/c.ico"),
    ]
    notes = " ".join(corpus.notes)
    assert "left out, 4 files without the suffix of an image that is read: 2 .psd" in notes
    assert "left out, 1 image beside the classes' folders: cover.png" in notes


def test_class_that_is_called_like_a_split_is_taken_where_the_card_names_it(tmp_path):
    files_in(tmp_path, "test/0.png", "joy/1.png")
    card = Card(name="f", title="F", adapter="folder", labels=("joy", "test"), source="f.md")
    assert len(load_corpus(card, tmp_path).stickers) == 2
