"""CSV as people's tools write it, read strictly: what does not fit is named with its line, never guessed.

Spreadsheets write semicolons or tabs, a line `sep=;`, UTF-16 or a country's encoding. A row with a cell too
many or a quotation mark that is never closed would move columns or swallow rows in silence.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mghft.pipeline.text import one_line, plural

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_DELIMITER_LINE = re.compile(r"sep=(.)\r?\n", re.I)
# UTF-16 without a mark: every second byte of Latin text is 0.
_NULS_LOOKED_AT = 200
# What a cell of a row inside a text would end with.
_FILE_SUFFIX = re.compile(r"\.[A-Za-z]\w{1,4}$")


class PlacedCells(NamedTuple):
    """A row and the line it begins in, counted from 1."""

    line: int
    cells: list[str]


def decode(content: bytes) -> tuple[str, str]:
    """Return text and its encoding: UTF-8, UTF-16, else GB18030 (which holds GBK and GB2312).

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16"), "utf-16"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_second = content[start:_NULS_LOOKED_AT:2]
        if len(every_second) > 1 and every_second.count(0) > len(every_second) * 0.7:
            return content.decode(encoding), encoding
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("gb18030"), "gb18030"


def read_text(file: Path, what: str) -> tuple[str, str]:
    """Return a file's text and its encoding, as `decode` does.

    Args:
        file: to read.
        what: it should be, for the message: "CSV".

    Raises:
        ValueError: it is no text in any of these encodings.
    """
    try:
        return decode(file.read_bytes())
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is no {what} in UTF-8, UTF-16 or GB18030 ({one_line(error)}): save it again as UTF-8"
        ) from None


def read_cells(text: str, file: Path, *, ragged: bool = False, unnamed: bool = False) -> list[PlacedCells]:
    """Split a CSV text into rows, the header first; blank rows are passed by.

    Args:
        text: of the file.
        file: for messages; `.tsv` is separated by tabs, else the header tells by what.
        ragged: rows may have any number of cells.
        unnamed: the last columns may have no name, and hold nothing then.

    Raises:
        ValueError: a quotation mark is not closed, closed twice, or swallows rows; a row has more or fewer
            cells than the header. The message names the line.
    """
    skipped = 0
    delimiter = "\t" if file.suffix.lower() == ".tsv" else None
    if match := _DELIMITER_LINE.match(text):
        text, skipped, delimiter = text[match.end() :], 1, match[1]
    delimiter = delimiter or find_delimiter(text)
    rows: list[PlacedCells] = []
    header: list[str] = []
    for line, cells in _split(text, file, delimiter, skipped):
        if not any(map(str.strip, cells)):
            continue
        if not rows:
            header = cells[: _named_width(cells)] if unnamed else cells
        elif not ragged and len(cells) != len(header):
            while len(cells) > len(header) and not cells[-1].strip():
                cells.pop()
            if len(cells) != len(header):
                raise ValueError(_wrong_count(file, line, cells, header, delimiter))
        _check_swallowed(file, line, cells, header, delimiter)
        rows.append(PlacedCells(line, cells))
    return rows


def find_delimiter(text: str) -> str:
    """Return what separates the cells of a table's first row, a comma where nothing does."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    unquoted = re.sub(r'"(?:[^"]|"")*"', "", first)
    counts = {delimiter: unquoted.count(delimiter) for delimiter in DELIMITERS}
    return max(counts, key=lambda delimiter: counts[delimiter])


def _named_width(header: Sequence[str]) -> int:
    """Return how many columns there are up to the last one with a name, at least one."""
    return max((place for place, name in enumerate(header, start=1) if name.strip()), default=1)


def _split(text: str, file: Path, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 0
    try:
        while True:
            before = rows.line_num
            line = before + 1 + skipped
            try:
                cells = next(rows)
            except StopIteration:
                return
            yield line, cells
    except csv.Error as error:
        reason = one_line(error)
        if "unexpected end" in reason:
            reason = "a quotation mark is opened in it and never closed"
        elif "expected after" in reason:
            reason = "a quotation mark stands inside a quoted text, or the one before is never closed"
        raise ValueError(
            f"{file}, line {line}: {reason}: write quotation marks inside a quoted text twice, "
            "or save the table again"
        ) from None


def _wrong_count(file: Path, line: int, cells: Sequence[str], header: Sequence[str], delimiter: str) -> str:
    name = DELIMITERS.get(delimiter, repr(delimiter))
    advice = f"put texts that hold a {name} in quotation marks" if len(cells) > len(header) else "complete it"
    return (
        f"{file}, line {line}: the row has {plural(len(cells), 'cell')} where the header has {len(header)}: "
        f"{advice}"
    )


def _check_swallowed(
    file: Path, line: int, cells: Sequence[str], header: Sequence[str], delimiter: str
) -> None:
    """Refuse a text of several lines of which one looks like a row of this very table."""
    suffixes = {
        place: match[0].lower() for place, cell in enumerate(cells) if (match := _FILE_SUFFIX.search(cell))
    }
    for cell in cells:
        for inner in cell.splitlines()[1:] if "\n" in cell or "\r" in cell else ():
            pieces = inner.split(delimiter)
            if len(pieces) >= len(header) > 1 and any(
                pieces[place].strip().lower().endswith(suffix) for place, suffix in suffixes.items()
            ):
                raise ValueError(
                    f"{file}, line {line}: a text in quotation marks goes over several lines and holds what "
                    f"looks like another row ({one_line(inner, 60)}): a quotation mark is missing"
                )
