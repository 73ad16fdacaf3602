"""CSV as strangers' tools write it: read as it was meant, or refused with its line."""

from pathlib import Path

import pytest

from mghft.pipeline.corpora.adapters.paths import name_on_disk
from mghft.pipeline.corpora.adapters.read_table import clean_name, look_alikes, read_rows
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.csv_text import decode, find_delimiter, read_cells
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import Selection

FILE = Path("labels.csv")


def cells(text: str, **options: bool) -> list[list[str]]:
    return [row.cells for row in read_cells(text, FILE, **options)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("path;label\r\na.png;joy, really\r\n", ["a.png", "joy, really"]),
        ("path\tlabel\na.png\tjoy\n", ["a.png", "joy"]),
        ("path|label\na.png|joy\n", ["a.png", "joy"]),
        ("sep=;\r\npath;label\r\na.png;joy\r\n", ["a.png", "joy"]),
        ('"path","label; and more"\na.png,joy\n', ["a.png", "joy"]),
        ('path,label\na.png,"a ""quoted"" word"\n', ["a.png", 'a "quoted" word']),
        ('path,label\na.png,"two\nlines"\n', ["a.png", "two\nlines"]),
        ('path,label\na.png,5" tall\n', ["a.png", '5" tall']),
        ("path,label\r\n\r\na.png,joy,,\r\n", ["a.png", "joy"]),
        ("\npath,label\na.png,joy", ["a.png", "joy"]),
    ],
)
def test_table_is_read_as_it_was_meant(text: str, first: list[str]) -> None:
    assert cells(text)[1] == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,text,label\na.png,hi,joy\nb.png,well, well,joy\n", "line 3: the row has 4 cells where"),
        ("path;text;label\na.png;hi;joy\nb.png;a;b;joy\n", "line 3.*texts that hold a semicolon"),
        ("path,text,label\na.png,hi,joy\nb.png,well\n", "line 3: the row has 2 cells where the header has 3"),
        (
            'path,label,text\na.png,joy,hi\nb.png,joy,"oh\nc.png,joy,hi\n',
            "line 3: a quotation mark is opened",
        ),
        ('path,label,text\na.png,joy,"oh\nb.png,joy,x\nc.png,joy,"no\n', "line 2: a quotation mark"),
        ('path,label,text\na.png,joy,"oh\nb.png,joy,x\nc.png,joy,no"\n', "line 2: .*looks like another row"),
        ('path,label,text\na.png,joy,"say "hi" now"\n', "line 2: a quotation mark stands inside"),
        ("sep=;\npath;label\na.png;joy;x\n", "line 3: the row has 3 cells"),
        ("path,label\n\n\na.png,joy,x\n", "line 4: the row has 3 cells"),
    ],
)
def test_row_that_does_not_fit_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cells(text)


def test_text_of_several_lines_with_commas_is_no_row() -> None:
    text = 'path,text,label\na.png,"one, two, three\nfour, five, six",joy\n'
    assert cells(text)[1] == ["a.png", "one, two, three\nfour, five, six", "joy"]


def test_rows_may_be_ragged_where_there_is_no_header() -> None:
    assert cells("a.png\nb.png,train\n", ragged=True) == [["a.png"], ["b.png", "train"]]


def test_delimiter_is_that_of_the_header() -> None:
    assert [find_delimiter(text) for text in ("path\na.png", "a;b,c;d", "", "a,b\n1;2;3;4")] == list(",;,,")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk"])
def test_text_in_any_encoding_that_circulates(encoding: str) -> None:
    text = "path,label\nimages/a.png,开心\nimages/b.png,joy\n"
    assert decode(text.encode(encoding))[0].removeprefix("\ufeff") == text


def corpus(root: Path, text: str, *names: str, encoding: str = "utf-8"):  # type: ignore[no-untyped-def]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return load_corpus(load_card("table"), root)


def test_blanks_around_labels_and_splits_are_dropped(tmp_path: Path) -> None:
    rows = ("a.png, joy,Train ", "b.png,joy\u00a0,train", "c.png,\u200banger,Val", "d.png,anger ,TEST")
    text = "\n".join(("path,label,split", *rows))
    found = corpus(tmp_path, text, "a.png", "b.png", "c.png", "d.png")
    assert found.card.labels == ("anger", "joy")
    assert [sticker.split for sticker in found.stickers] == ["train", "train", "validation", "test"]
    assert not found.problems


def test_labels_that_look_alike_are_a_problem(tmp_path: Path) -> None:
    rows = ["joy", "Joy", "anger", "JOY!", "not-safe", "not safe"]
    text = "path,label\n" + "".join(f"{number}.png,{label}\n" for number, label in enumerate(rows))
    found = corpus(tmp_path, text, *(f"{number}.png" for number in range(6)))
    (first, second) = found.problems
    assert "'JOY!' and 'Joy' and 'joy'" in first
    assert "'not safe' and 'not-safe'" in second
    assert look_alikes(["开心", "开 心", "愤怒"]) == [["开心", "开 心"]]


def test_cells_that_say_nothing_are_no_class(tmp_path: Path) -> None:
    text = "path,label\na.png,joy\nb.png,NaN\nc.png,nan\nd.png,anger\ne.png,none\n"
    found = corpus(tmp_path, text, *(f"{name}.png" for name in "abcde"))
    assert found.card.labels == ("anger", "joy", "none")
    assert [sticker.label_name for sticker in found.stickers] == ["joy", None, None, "anger", "none"]
    assert any("1 × 'NaN', 1 × 'nan' in the column 'label'" in note for note in found.notes)


def test_nan_of_json_and_parquet_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"path": "a.png", "label": NaN}\n{"path": "b.png", "label": 2.0}\n')
    assert [row["label"] for _, row in read_rows(tmp_path / "a.jsonl")[1]] == ["", "2"]


def test_names_of_windows_and_macos_are_found(tmp_path: Path) -> None:
    text = (
        "path,label\nimages\\1.png,joy\nimages/caf\u00e9.png,anger\n images/2.png,joy\nimages/3.png,anger\n"
    )
    names = ("images/1.png", "images/cafe\u0301.png", "images/2.png", "images/3.png")
    found = corpus(tmp_path, text, *names)
    assert [sticker.path for sticker in found.stickers] == list(names)
    assert name_on_disk(tmp_path, "images\\none.png") == "images\\none.png"


def test_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has the column 'label' twice"):
        corpus(tmp_path, "path,label,label\na.png,joy,anger\n", "a.png")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_list_of_ids_saved_by_notepad_or_powershell(tmp_path: Path, encoding: str) -> None:
    found = corpus(tmp_path, "path,label\na.png,joy\nb.png,anger\nc.png,joy\n", "a.png", "b.png", "c.png")
    (tmp_path / "ids.txt").write_bytes("a.png\r\nc.png \r\n".encode(encoding))
    chosen = Selection(ids=tmp_path / "ids.txt").choose(found)
    assert [sticker.id for sticker in chosen] == ["a.png", "c.png"]


def test_name_is_cleaned_of_blanks_of_every_width() -> None:
    assert clean_name("\u3000very \t happy\u00a0\ufeff") == "very happy"
    assert clean_name("cafe\u0301") == "caf\u00e9"
