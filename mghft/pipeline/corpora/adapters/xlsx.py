"""The first sheet of a spreadsheet (XLSX) as rows of text; enough for tables that somebody once saved so."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

_MAX_BYTES = 256 * 1024 * 1024
_MAX_CELLS = 20_000_000
_TROUBLE = (
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    LookupError,
    StopIteration,
    ValueError,
    OSError,
    RecursionError,
    NotImplementedError,  # a way of packing that zipfile does not know
)
_COLUMN = re.compile(r"[A-Z]{1,3}")


def read_sheet(file: Path) -> list[list[str]]:
    """Rows of the first sheet; empty cells are empty texts, whole numbers have no `.0`.

    Raises:
        ValueError: it is no spreadsheet of this kind, or its parts are too large.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            shared = [_text(item) for item in _parts(archive, "xl/sharedStrings.xml", optional=True)]
            sheet = _tree(archive, _first_sheet(archive))
            return _rows(sheet, shared)
    except _TROUBLE as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file} is no readable spreadsheet ({reason}): save it as CSV in UTF-8") from None


def _rows(sheet: ElementTree.Element, shared: list[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    cells = 0
    for row in sheet.iter():
        if _tag(row) == "row":
            rows.append(_cells(row, shared))
            cells += len(rows[-1])
            if cells > _MAX_CELLS:
                raise ValueError(f"it has more than {_MAX_CELLS:,} cells")
    return rows


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """Name of the part that holds the first sheet of the workbook."""
    sheets = [one for one in _tree(archive, "xl/workbook.xml").iter() if _tag(one) == "sheet"]
    wanted = next(value for key, value in sheets[0].attrib.items() if key.endswith("}id"))
    links = {one.get("Id"): one.get("Target") or "" for one in _tree(archive, "xl/_rels/workbook.xml.rels")}
    target = links[wanted]
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


def _cells(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row:
        place = _COLUMN.match(cell.get("r", ""))
        column = _number(place[0]) if place else len(cells)
        cells += [""] * (column - len(cells))
        cells.append(_value(cell, shared))
    return cells


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return _text(cell)
    said = next((one.text or "" for one in cell if _tag(one) == "v"), "")
    if cell.get("t") == "s":
        return shared[int(said)]
    # Numbers are written as the spreadsheet keeps them: 1 may be 1.0.
    return re.sub(r"^(-?\d+)\.0+$", r"\1", said)


def _text(element: ElementTree.Element) -> str:
    """All text of a cell; marks of pronunciation beside it are no part of it."""
    parts = []
    for child in element:
        if _tag(child) == "t":
            parts.append(child.text or "")
        elif _tag(child) not in ("rPh", "phoneticPr"):
            parts.append(_text(child))
    return "".join(parts)


def _parts(archive: zipfile.ZipFile, name: str, *, optional: bool) -> list[ElementTree.Element]:
    return [] if optional and name not in archive.namelist() else list(_tree(archive, name))


def _tree(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"its part {name} is larger than {_MAX_BYTES} bytes")
    with archive.open(name) as part:
        content = part.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError(f"its part {name} is larger than it says, or defines entities")
    return ElementTree.fromstring(content)


def _tag(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _number(letters: str) -> int:
    """A is 0, AA is 26."""
    value = 0
    for letter in letters:
        value = value * 26 + ord(letter) - 64
    return value - 1
