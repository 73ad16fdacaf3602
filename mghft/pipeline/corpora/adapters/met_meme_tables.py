"""MET-Meme's tables: found by name, decoded, freed of what a spreadsheet left behind; and their values."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN
from mghft.pipeline.corpora.adapters.read_table import as_text, find_column
from mghft.pipeline.corpora.card import Task
from mghft.pipeline.corpora.csv_text import decode, read_cells
from mghft.pipeline.text import first_and_more, one_line, plural

UNREADABLE = "no label can be read, left without one"
_ID_COLUMNS = ("file_name", "images_name", "image_name", "images_names", "id", "name")
_VALUE = re.compile(r"(\d+)\s*[(\uff08]([^)\uff09]*)[)\uff09]")
# Of a spreadsheet: what its parts may unpack to, and the cells of its used area, empty ones too.
_MAX_BYTES = 256 * 1024 * 1024
_MAX_CELLS = 20_000_000
_SHEET_PARTS = re.compile(
    r"_rels/\.rels|\[Content_Types\]\.xml|xl/(?:_rels/|worksheets/)?[^/]+\.(?:xml|rels)"
)
_CELL_TAG = re.compile(rb"<c[\s/>]")
# To its end: of two references in one tag the reader takes the second.
_COLUMN_OF_CELL = re.compile(rb'<c r="([A-Za-z]+)[0-9]+"(?: [st]="[A-Za-z0-9]*")*/?>')
_ROW_OF_CELL = re.compile(rb'<c r="[A-Za-z]+([0-9]+)"')
_CELL_REFERENCE = re.compile(r"([A-Za-z]+)([0-9]+)")


class Table(NamedTuple):
    """A table of text cells; `remark` says how its file was read."""

    header: list[str]
    rows: list[dict[str, str]]
    remark: str


def find_table(files: Sequence[str], stem: str) -> str | None:
    """Return the table of this name nearest to the root: CSV, else with more after the name, else XLSX."""
    pattern = re.compile(rf"{stem.lower()}(?:[^a-z0-9].*)?\.(?:csv|xlsx)")

    def rank(path: str) -> tuple[bool, bool]:
        name = path.rpartition("/")[2].lower()
        return name.endswith(".xlsx"), name.rpartition(".")[0] != stem.lower()

    tables = [path for path in files if pattern.fullmatch(path.rpartition("/")[2].lower())]
    return min(tables, key=rank, default=None)


def read_meme_table(file: Path) -> Table:
    """Read a table without its empty columns and rows.

    Bytes that are no text in any encoding become a replacement sign: the labels are ASCII, so they stay.

    Raises:
        ValueError: the file is no XLSX, or a row of the CSV does not fit its header (see `read_cells`).
    """
    if file.suffix.lower() == ".xlsx":
        cells, encoding = read_sheet(file), "a spreadsheet"
    else:
        cells, encoding = _read_csv(file)
    cells = [row for row in cells if any(map(str.strip, row))]
    names = [cell.strip() for cell in cells[0]] if cells else []
    columns = [column for column, name in enumerate(names) if name]
    remark = f"is read as {encoding}"
    if len(names) > len(columns):
        remark += f", {plural(len(names) - len(columns), 'column')} without a name passed by"
    if lost := sum(cell.count("\ufffd") for row in cells for cell in row):
        remark += f", {plural(lost, 'character')} unreadable"
    rows = [
        {names[column]: row[column] if column < len(row) else "" for column in columns} for row in cells[1:]
    ]
    return Table([names[column] for column in columns], rows, remark)


def find_id_column(header: list[str], file: Path) -> str:
    """Return the column of names: `file_name` in the English files, `images_name` in the Chinese.

    Raises:
        ValueError: the table has none.
    """
    column = find_column(header, _ID_COLUMNS)
    if column is None:
        raise ValueError(
            f"{file} has no column file_name or images_name (it has: {first_and_more(header, NAMES_SHOWN)})"
        )
    return column


def read_value(value: str, task: Task) -> tuple[int | None, str]:
    """Return the label index of a cell such as `2(love)`, and a remark if the cell is not as it should be."""
    by_name = {name.casefold(): index for index, name in enumerate(task.labels)}
    by_alias = {name.casefold(): by_name[label.casefold()] for name, label in task.aliases.items()}
    by_number = {task.first + index: index for index in range(len(task.labels))}
    plain = value.casefold()
    if match := _VALUE.fullmatch(value):
        numbered, name = by_number.get(int(match[1])), match[2].strip().casefold()
        named = by_name.get(name, by_alias.get(name))
        if named is None:
            return (None, UNREADABLE) if numbered is None else (numbered, "unknown name, read by its number")
        return named, "" if named == numbered else "number and name disagree, read by the name"
    if value.isdecimal() and int(value) in by_number:
        # Metaphor occurrence is written so in all files.
        return by_number[int(value)], "" if set(task.aliases) >= {"0", "1"} else "a bare number, read as it"
    if plain in by_name:
        return by_name[plain], "a bare name, read as it"
    if plain in by_alias:
        return by_alias[plain], f"another wording, read as {task.labels[by_alias[plain]]}"
    return None, UNREADABLE


def read_sheet(file: Path) -> list[list[str]]:
    """Read the first sheet of an XLSX file as text; whole numbers have no `.0`, dates are their numbers.

    Raises:
        ValueError: it is no spreadsheet of this kind, or unpacks to too much.
    """
    from python_calamine import load_workbook

    try:
        rows = load_workbook(_unpack(file)).get_sheet_by_index(0).to_python(skip_empty_area=False)
    # Archive, packing, XML and spreadsheet each have errors of their own; all mean that it cannot be read.
    except Exception as error:
        raise ValueError(
            f"{file} is no readable spreadsheet ({one_line(error, 200)}): save it as CSV in UTF-8"
        ) from None
    return [[cell if isinstance(cell, str) else _cell_text(cell) for cell in row] for row in rows]


def _unpack(file: Path) -> io.BytesIO:
    """Copy the parts of a spreadsheet that hold its cells into an archive that is safe to unpack in memory.

    The sizes in an archive may lie, and python-calamine asks for room for every cell up to the last one, so
    that two cells in far corners end the process: both are checked before it sees the file.
    """
    copy = io.BytesIO()
    remaining = _MAX_BYTES
    with zipfile.ZipFile(file) as packed, zipfile.ZipFile(copy, "w") as unpacked:
        for name in dict.fromkeys(packed.namelist()):
            # Without its styles a date is a number like any other.
            if not _SHEET_PARTS.fullmatch(name) or name == "xl/styles.xml":
                continue
            size = packed.getinfo(name).file_size
            if size > remaining:
                raise ValueError(f"its parts are larger than {_MAX_BYTES} bytes")
            with packed.open(name) as part:
                content = part.read(size + 1)
            remaining -= len(content)
            _check_part(name, content)
            unpacked.writestr(name, content)
    copy.seek(0)
    return copy


def _check_part(name: str, content: bytes) -> None:
    """Refuse XML that defines entities, and a sheet whose last row and last column span too many cells."""
    if b"<!DOCTYPE" in content:
        raise ValueError(f"its part {name} defines entities")
    # Cells as nearly all tools write them need no parser; but only it sees which of them are empty.
    columns = _COLUMN_OF_CELL.findall(content)
    if len(columns) == len(_CELL_TAG.findall(content)) and b":c" not in content:
        last_row = max(map(int, set(_ROW_OF_CELL.findall(content))), default=0)
        if last_row * max(map(_column_number, set(columns)), default=0) <= _MAX_CELLS:
            return
    last_row, last_column = _used_area(content)
    if last_row * last_column > _MAX_CELLS:
        raise ValueError(f"it has more than {_MAX_CELLS:,} cells")


def _used_area(content: bytes) -> tuple[int, int]:
    """Return the last row and the last column with a value, where a spreadsheet's reader puts them."""
    last_row = last_column = row = cell_row = cell_column = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal last_row, last_column, row, cell_row, cell_column
        kind, reference = tag.rpartition(":")[2], attributes.get("r")
        if kind == "row":
            if reference is not None and not reference.isdecimal():
                raise ValueError(f"it has a row at {reference!r}")
            row, cell_column = row + 1 if reference is None else int(reference), 0
        elif kind == "c" and reference is None:
            cell_row, cell_column = row, cell_column + 1
        elif kind == "c" and reference is not None:
            match = _CELL_REFERENCE.fullmatch(reference)
            if match is None:
                raise ValueError(f"it has a cell at {reference!r}")
            cell_row, cell_column = int(match[2]), _column_number(match[1].encode())
        elif kind in ("v", "is"):
            last_row, last_column = max(last_row, cell_row), max(last_column, cell_column)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.Parse(content, True)
    return last_row, last_column


def _column_number(letters: bytes) -> int:
    """Return the number of a column: A is 1, AA is 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def _cell_text(cell: object) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    return as_text(cell)


def _read_csv(file: Path) -> tuple[list[list[str]], str]:
    content = file.read_bytes()
    try:
        text, encoding = decode(content)
    except UnicodeDecodeError:
        text, encoding = content.decode("gb18030", "replace"), "gb18030"
    return [cells for _, cells in read_cells(text, file, unnamed=True)], encoding
