"""Writes XLSX files part by part, as the tools of strangers do."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
SHEET = "xl/worksheets/sheet7.xml"


def write_parts(
    path: Path,
    sheet: str,
    *,
    strings: str | None = None,
    target: str = "worksheets/sheet7.xml",
    more: Mapping[str, str | bytes] | None = None,
) -> Path:
    """A workbook of two sheets, whose first has another number in its file's name.

    Args:
        path: file to write.
        sheet: content of the first sheet's `worksheet`.
        strings: content of the shared strings; None: the workbook has none.
        target: the first sheet's place in the relations of the workbook.
        more: parts by name, written instead of those of this function or beside them.
    """
    sheets = '<sheets><sheet name="Tablib Dataset" sheetId="9" r:id="b"/>'
    sheets += '<sheet name="Sheet1" sheetId="1" r:id="a"/></sheets>'
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"/>',
        "_rels/.rels": _relations("officeDocument", {"r": "xl/workbook.xml"}),
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{_OFFICE}">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": _relations("worksheet", {"a": "worksheets/sheet1.xml", "b": target}),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"/>',
        SHEET: f'<worksheet xmlns="{MAIN}">{sheet}</worksheet>',
    }
    if strings is not None:
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{strings}</sst>'
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**parts, **(more or {})}.items():
            archive.writestr(name, text)
    return path


def write_xlsx(path: Path, rows: Sequence[Sequence[str]], *, shared: bool = True) -> Path:
    """Rows of text on the first sheet; numbers are numbers, empty cells are left out."""
    texts = {text: index for index, text in enumerate(sorted({cell for row in rows for cell in row}))}
    lines = []
    for number, row in enumerate(rows, 1):
        cells = []
        for column, cell in enumerate(row):
            place = f'r="{chr(65 + column)}{number}"'
            if cell.isdecimal():
                cells.append(f"<c {place}><v>{cell}.0</v></c>")
            elif cell and shared:
                cells.append(f'<c {place} t="s"><v>{texts[cell]}</v></c>')
            elif cell:
                cells.append(f'<c {place} t="inlineStr"><is><t>{escape(cell)}</t></is></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    strings = "".join(f"<si><r><t>{escape(text)}</t></r><rPh><t>x</t></rPh></si>" for text in texts)
    return write_parts(path, f"<sheetData>{''.join(lines)}</sheetData>", strings=strings if shared else None)


def _relations(kind: str, targets: Mapping[str, str]) -> str:
    links = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for name, target in targets.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}">{links}</Relationships>'
