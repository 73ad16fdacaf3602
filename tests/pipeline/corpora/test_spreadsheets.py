"""Spreadsheets of strangers: what several tools write, and files that are broken or made to do harm."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile

import pytest
from met_meme_copy import LETTER, label_rows, text_rows, write_csv, write_images
from spreadsheets import MAIN, SHEET, write_parts, write_xlsx

from mghft.pipeline.corpora.adapters.met_meme_tables import read_sheet
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus


def sheet(*rows):
    return f"<sheetData>{''.join(rows)}</sheetData>"


@pytest.mark.parametrize("shared", [True, False])
def test_spreadsheets_are_read_like_the_csv(tmp_path, shared):
    for language, letter in LETTER.items():
        write_xlsx(tmp_path / f"label_{letter}.xlsx", label_rows(language)[:40], shared=shared)
        write_xlsx(tmp_path / f"{letter}_text.xlsx", text_rows(language), shared=shared)
        write_images(tmp_path, f"{letter}images", language)
    found = load_corpus(load_card("met-meme:metaphor"), tmp_path).stickers
    rows = {row[0]: row for language in LETTER for row in label_rows(language)[1:40]}
    texts = {row[0]: row[1] for language in LETTER for row in text_rows(language)}
    assert len(found) > 70
    for sticker in found:
        name = sticker.id.partition("/")[2]
        assert (sticker.label, sticker.text or "") == (int(rows[name][5]), texts[name])


def test_csv_goes_before_its_twin(tmp_path):
    header = ["file_name", "sentiment category"]
    write_csv(tmp_path / "label_E.csv", [header, ["image_ (1).jpg", "3(anger)"]], encoding="utf-8")
    write_xlsx(tmp_path / "label_E.xlsx", [header, ["image_ (1).jpg", "2(love)"]])
    write_images(tmp_path, "Eimages", "en", only=[1])
    assert load_corpus(load_card("met-meme:en"), tmp_path).stickers[0].label_name == "anger"


def test_empty_cells_move_no_column(tmp_path):
    header = ["file_name", "sentiment degree", "sentiment category"]
    write_xlsx(tmp_path / "label_E.xlsx", [header, ["image_ (1).jpg", "", "2(love)"]])
    write_images(tmp_path, "Eimages", "en", only=[1])
    assert load_corpus(load_card("met-meme:en"), tmp_path).stickers[0].label_name == "love"


STRINGS = (
    "<si><t>plain</t></si>"
    '<si><r><t xml:space="preserve">ri </t></r><r><rPr><b/></rPr><t>ch</t></r></si>'
    '<si><t>猫</t><rPh sb="0" eb="1"><t>ねこ</t></rPh><phoneticPr fontId="1"/></si>'
    "<si><t/></si>"
)
# The second format is a date's.
STYLES = f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ("<c t='inlineStr'><is><t>a &amp; b\nc</t></is></c>", ["a & b\nc"]),
        ("<c t='inlineStr'><is><t><![CDATA[a<b]]></t></is></c>", ["a<b"]),
        ("<c t='inlineStr'><is><r><t>a</t></r><r><rPr><b/></rPr><t>b</t></r></is></c>", ["ab"]),
        ("<c t='inlineStr'><is><t>猫</t><rPh sb='0' eb='1'><t>ねこ</t></rPh></is></c>", ["猫"]),
        ("<c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>2</v></c>", ["plain", "ri ch", "猫"]),
        ("<c t='str'><f>A1&amp;B1</f><v>result</v></c>", ["result"]),
        (
            "<c><v>1</v></c><c><v>1.0</v></c><c t='n'><v>-2.00</v></c><c><v>.5</v></c>",
            ["1", "1", "-2", "0.5"],
        ),
        ("<c><v>0.5</v></c><c><v>0.30000000000000004</v></c>", ["0.5", "0.30000000000000004"]),
        ("<c t='b'><v>1</v></c><c t='b'><v>0</v></c>", ["1", "0"]),
        ("<c s='1'><v>45000</v></c><c s='1'><v>45000.5</v></c>", ["45000", "45000.5"]),
        ("<c t='d'><v>2024-01-02T03:04:05</v></c>", ["2024-01-02T03:04:05"]),
        ("<c t='d'><v>2024-01-02</v></c>", ["2024-01-02"]),
        ("<c r='B1'><v>1</v></c><c r='D1'><v>2</v></c>", ["", "1", "", "2"]),
        ("<c/><c s='1'/><c t='s'><v>3</v></c><c t='inlineStr'><is/></c><c><v>1</v></c>", [*[""] * 4, "1"]),
        ("<c r='AA1'><v>1</v></c>", [*[""] * 26, "1"]),
    ],
)
def test_cells_as_tools_write_them(tmp_path, cells, wanted):
    """Text, text in runs and with marks of pronunciation, numbers, booleans, dates, empty cells."""
    rows = sheet(f"<row>{cells}</row>")
    path = write_parts(tmp_path / "a.xlsx", rows, strings=STRINGS, more={"xl/styles.xml": STYLES})
    assert read_sheet(path) == [wanted]


ROW = '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row>'
PREFIXED = f"""<?xml version="1.0"?><x:worksheet xmlns:x="{MAIN}"><x:sheetData>
<x:row><x:c t="inlineStr"><x:is><x:t>a</x:t></x:is></x:c></x:row></x:sheetData></x:worksheet>"""
DEEP = "<row><c t='inlineStr'>" + "<is>" * 5000 + "<t>a</t>" + "</is>" * 5000 + "</c></row>"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (sheet(ROW), {}),
        (sheet(ROW), {"target": "/xl/worksheets/sheet7.xml"}),
        ('<dimension ref="A1:XFD1048576"/>' + sheet(ROW), {}),
        ('<cols><col min="1" max="16384"/></cols>' + sheet(ROW, '<row r="1048576" ht="9"/>'), {}),
        (sheet(ROW, '<row r="1048576"><c r="XFD1048576" s="1"/></row>'), {}),
        ("", {"more": {SHEET: PREFIXED}}),
        (sheet(ROW), {"more": {"docProps/app.xml": "<not well", "xl/theme/theme1.xml": "<not well"}}),
        (sheet(DEEP), {}),
    ],
    ids=[
        "no dimension",
        "absolute target",
        "dimension of everything",
        "widths and heights",
        "format without a value",
        "prefix",
        "other parts are broken",
        "deeply nested",
    ],
)
def test_sheets_as_tools_write_them(tmp_path, content, options):
    assert read_sheet(write_parts(tmp_path / "a.xlsx", content, **options)) == [["a"]]


def test_rows_keep_their_order_and_columns(tmp_path):
    rows = ('<row r="2"><c r="B2"><v>1</v></c></row>', '<row r="4"><c r="A4"><v>2</v></c></row>')
    cells = read_sheet(write_parts(tmp_path / "a.xlsx", sheet(*rows)))
    assert [row for row in cells if any(row)] == [["", "1"], ["2", ""]]


def test_empty_sheet(tmp_path):
    assert read_sheet(write_parts(tmp_path / "a.xlsx", "")) == []


ROWS_OF_NO_STRING = sheet("<row><c t='s'><v>9</v></c></row>")
BAD_STRING = f'<worksheet xmlns="{MAIN}">{ROWS_OF_NO_STRING}</worksheet>'
ENTITY = '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("part", "content", "reason"),
    [
        (None, "no zip", "not a zip file"),
        ("xl/workbook.xml", "<workbook/>", "not found"),
        (SHEET, "<a", "tag not closed"),
        (SHEET, BAD_STRING, "string index not found"),
        (SHEET, ENTITY, "its part xl/worksheets/sheet7.xml defines entities"),
        ("xl/sharedStrings.xml", ENTITY, "its part xl/sharedStrings.xml defines entities"),
    ],
)
def test_spreadsheet_that_cannot_be_read(tmp_path, part, content, reason):
    path = write_parts(tmp_path / "a.xlsx", sheet(ROW), more={part: content} if part else {})
    if part is None:
        path.write_text(content)
    with pytest.raises(
        ValueError, match=rf"is no readable spreadsheet \(.*({reason}).*\): save it as CSV in"
    ):
        read_sheet(path)


def test_encrypted_spreadsheet_is_a_sentence(tmp_path):
    path = write_parts(tmp_path / "a.xlsx", sheet(ROW))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no readable spreadsheet .*encrypted"):
        read_sheet(path)


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        '<row><c><v>1</v></c><c r="XFD1048576"><v>1</v></c></row>',
        '<row><c r="ZZZZZZ9"><v>1</v></c></row>',
        '<row r="4000000000"><c><v>1</v></c></row>',
        "<row>" + "<c/>" * 5000 + "<c><v>1</v></c></row>" + "<row/>" * 5000 + "<row><c><v>1</v></c></row>",
        '<row r="9999999"/><row/><row><c/><c/><c><v>1</v></c></row>',
        '<row><c s="1" r="XFD1048576"><v>1</v></c></row>',
        "<row><c\tr='XFD1048576'><v>1</v></c></row>",
        '<x:row xmlns:x="x"><x:c r="XFD1048576"><x:v>1</x:v></x:c></x:row>',
    ],
    ids=[
        "last corner",
        "cell outside its row",
        "long name",
        "last row",
        "unnamed cells",
        "unnamed row",
        "style first",
        "another blank",
        "prefix",
    ],
)
def test_two_cells_far_apart_ask_for_no_room_between_them(tmp_path, rows):
    with pytest.raises(ValueError, match="it has more than 20,000,000 cells"):
        read_sheet(write_parts(tmp_path / "a.xlsx", sheet(rows)))


@pytest.mark.parametrize("place", ["1A", "A", "A-1", "\u04101", "A1:B2", ""])
def test_cell_or_row_at_no_place(tmp_path, place):
    cell, row = f'<row><c r="{place}"><v>1</v></c></row>', f'<row r="{place}"><c><v>1</v></c></row>'
    for rows, reason in ((cell, "a cell at"), (row, "a row at")):
        with pytest.raises(ValueError, match=f"it has {reason} '{place}'"):
            read_sheet(write_parts(tmp_path / "a.xlsx", sheet(rows)))


def test_cell_at_two_places(tmp_path):
    rows = '<row><c r="A1" r="XFD1048576"><v>1</v></c></row>'
    with pytest.raises(ValueError, match="duplicate attribute"):
        read_sheet(write_parts(tmp_path / "a.xlsx", sheet(rows)))


def test_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = write_parts(tmp_path / "a.xlsx", sheet(ROW))
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/worksheets/sheet9.xml", "w") as part,
    ):
        for _ in range(257):
            part.write(b" " * 1_048_576)
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="its parts are larger than 268435456 bytes"):
            read_sheet(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_part_that_unpacks_to_more_than_it_says(tmp_path):
    """The archive gives the sheet 100 bytes, and the checksum of the first 100."""
    path = write_parts(tmp_path / "a.xlsx", sheet(ROW) + " " * 5_000_000)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        crc = zipfile.crc32(archive.read(SHEET)[:100])
    entry = content.rindex(SHEET.encode()) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    struct.pack_into("<I", content, entry + 16, crc)
    struct.pack_into("<I", content, entry + 24, 100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no readable spreadsheet .*save it as CSV"):
        read_sheet(path)
