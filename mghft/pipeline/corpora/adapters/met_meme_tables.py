"""MET-Meme's CSV files: found by name, decoded, freed of what a spreadsheet left behind; and their values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import first
from mghft.pipeline.corpora.adapters.read_table import decode, named
from mghft.pipeline.corpora.adapters.xlsx import read_sheet
from mghft.pipeline.corpora.card import Task

UNREADABLE = "no label can be read, left without one"
_ID_COLUMNS = ("file_name", "images_name", "image_name", "images_names", "id", "name")
_VALUE = re.compile(r"(\d+)\s*[(\uff08]([^)\uff09]*)[)\uff09]")


def find_table(files: Sequence[str], stem: str) -> str | None:
    """The table of this name nearest to the root: CSV, else one whose name goes on after it, else XLSX."""
    named_so = re.compile(rf"{stem.lower()}(?:[^a-z0-9].*)?\.(?:csv|xlsx)")

    def rank(path: str) -> tuple[bool, bool]:
        name = path.rpartition("/")[2].lower()
        return name.endswith(".xlsx"), name.rpartition(".")[0] != stem.lower()

    found = [path for path in files if named_so.fullmatch(path.rpartition("/")[2].lower())]
    return min(found, key=rank, default=None)


def read_cells(file: Path) -> tuple[list[str], list[dict[str, str]], str]:
    """Header, rows by header without empty columns and rows, and a remark on how the file was read.

    Bytes that are no text in any encoding become a replacement sign: the labels are ASCII, so they stay.

    Raises:
        ValueError: it is no CSV or XLSX.
    """
    if file.suffix.lower() == ".xlsx":
        rows, encoding = read_sheet(file), "a spreadsheet"
    else:
        rows, encoding = _read_csv(file)
    table = [row for row in rows if any(map(str.strip, row))]
    lost = sum(cell.count("\ufffd") for row in table for cell in row)
    header = [cell.strip() for cell in table[0]] if table else []
    kept = [at for at, name in enumerate(header) if name]
    remark = f"is read as {encoding}"
    if len(header) > len(kept):
        remark += f", {len(header) - len(kept)} columns without a name are passed by"
    if lost:
        remark += f", {lost} characters cannot be read"
    cells = [{header[at]: row[at] if at < len(row) else "" for at in kept} for row in table[1:]]
    return [header[at] for at in kept], cells, remark


def _read_csv(file: Path) -> tuple[list[list[str]], str]:
    content = file.read_bytes()
    try:
        text, encoding = decode(content)
    except UnicodeDecodeError:
        text, encoding = content.decode("gb18030", "replace"), "gb18030"
    try:
        return list(csv.reader(io.StringIO(text, newline=""))), encoding
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV ({error}): get the file anew") from None


def id_column(header: list[str], file: Path) -> str:
    """The column of names: `file_name` in the English files, `images_name` in the Chinese.

    Raises:
        ValueError: there is none.
    """
    key = named(header, _ID_COLUMNS)
    if key is None:
        raise ValueError(f"{file} has no column file_name or images_name (it has: {first(header, 20)})")
    return key


def read_value(value: str, task: Task) -> tuple[int | None, str]:
    """Label index of a cell such as `2(love)`, and a remark where the cell is not as it should be."""
    names = {name.casefold(): index for index, name in enumerate(task.labels)}
    aliases = {name.casefold(): names[label] for name, label in task.aliases.items()}
    numbers = {task.first + index: index for index in range(len(task.labels))}
    whole = _VALUE.fullmatch(value)
    if whole:
        by_number, name = numbers.get(int(whole[1])), whole[2].strip().casefold()
        by_name = names.get(name, aliases.get(name))
        if by_name is None:
            if by_number is None:
                return None, UNREADABLE
            return by_number, "unknown name, read by its number"
        return by_name, "" if by_name == by_number else "number and name disagree, read by the name"
    plain = value.casefold()
    if value.isdecimal() and int(value) in numbers:
        # Metaphor occurrence is written so in all files.
        return numbers[int(value)], "" if set(task.aliases) >= {"0", "1"} else "a bare number, read as it"
    if plain in names:
        return names[plain], "a bare name, read as it"
    if plain in aliases:
        return aliases[plain], f"another wording, read as {task.labels[aliases[plain]]}"
    return None, UNREADABLE
