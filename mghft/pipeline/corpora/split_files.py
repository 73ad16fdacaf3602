"""Files that give splits, in the shapes that circulate: rows of names, each with a split."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.read_table import plain_name
from mghft.pipeline.corpora.csv_text import read_cells, read_text
from mghft.pipeline.corpora.sticker import normal_split
from mghft.pipeline.text import one_line

_SPLIT_WORD = re.compile(r"(?<![a-z])(train(?:ing)?|validation|valid|val|dev|test(?:ing)?)(?![a-z])")
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SUFFIXES = (".csv", ".json", ".jsonl", ".tsv", ".txt")
_SPLIT_COLUMNS = ("split", "set", "subset", "fold")
_ID_COLUMNS = (
    "id",
    "sticker_id",
    "file_name",
    "images_name",
    "image_name",
    "image_id",
    "image_path",
    "image",
    "img",
    "path",
    "filename",
    "name",
)


@dataclass(frozen=True)
class SplitRow:
    """One row of a file of splits.

    Attributes:
        names: cells that may be the sticker's name; which of them is one, the whole file tells.
        split: by our name for it.
        file: name of the file, which may tell more about the sticker (MET-Meme: its language).
    """

    names: tuple[str, ...]
    split: str
    file: str


def read_split_rows(source: str) -> list[SplitRow]:
    """Read a file, the files of a folder, or those of a pattern (`folder/avg_*_label_E.csv`).

    Raises:
        FileNotFoundError: no such file exists.
        ValueError: a file has another shape, or neither a row nor the file's name says which split it is.
    """
    rows = [row for file in _find_files(source) for row in _read_file(file)]
    if not rows:
        raise ValueError(f"the splits {source} are empty")
    return rows


def split_in_name(stem: str) -> str | None:
    """Return the split that a file's name speaks of: `avg_val_label_E` and `SintVal2` are validation."""
    words = _SPLIT_WORD.findall(_CAMEL_CASE.sub("_", stem).lower())
    return normal_split(words[-1]) if words else None


def _find_files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file()]
        files = [file for file in sorted(files) if split_in_name(file.stem)]
    else:
        files = sorted(file for file in path.parent.glob(path.name) if file.is_file())
    if not files:
        raise FileNotFoundError(
            f"the splits {source} do not exist: give a file, a folder with files named train, val and test, "
            "or a pattern of such files"
        )
    return files


def _read_file(file: Path) -> list[SplitRow]:
    try:
        text = read_text(file, "split file")[0]
        if file.suffix.lower() == ".json":
            return _parse_json(file, json.loads(text))
        if file.suffix.lower() == ".jsonl":
            return _parse_json(file, [json.loads(line) for line in text.split("\n") if line.strip()])
        return _parse_table(file, text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"the split file {file} cannot be read ({one_line(error)})") from None


def _parse_json(file: Path, content: Any) -> list[SplitRow]:
    """Read a list of names or of rows; or an object of such lists by split, or of splits by name."""
    if isinstance(content, list):
        return [_parse_json_row(file, row) for row in content]
    if isinstance(content, dict) and content:
        if all(isinstance(value, list) for value in content.values()):
            return [_parse_json_row(file, row, split) for split, rows in content.items() for row in rows]
        if all(isinstance(value, str) for value in content.values()):
            return [_row(file, [name], split) for name, split in content.items()]
    raise ValueError(f"the split file {file} is neither a list nor an object of lists by split")


def _parse_json_row(file: Path, row: Any, split: str | None = None) -> SplitRow:
    if isinstance(row, dict):
        cells = {plain_name(str(key)): value for key, value in row.items()}
        split = split or next((str(cells[key]) for key in _SPLIT_COLUMNS if cells.get(key)), None)
        return _row(file, [cells[key] for key in _ID_COLUMNS if key in cells], split)
    return _row(file, row if isinstance(row, list) else [row], split)


def _parse_table(file: Path, text: str) -> list[SplitRow]:
    """Read CSV with a header or without; a column tells the split, or else the file's name."""
    # Our own files begin with comment lines that say how they were made; blank ones keep the line numbers.
    comments = 0
    while text.startswith("#"):
        text, comments = text.partition("\n")[2], comments + 1
    text = "\n" * comments + text
    rows = [cells for _, cells in read_cells(text, file, ragged=True)]
    if not rows:
        return []
    header = [plain_name(cell) for cell in rows[0]]
    id_columns = [header.index(name) for name in _ID_COLUMNS if name in header]
    split_column = next((header.index(name) for name in _SPLIT_COLUMNS if name in header), None)
    if not id_columns and split_column is None:
        return [_row(file, row) for row in rows]
    found = []
    for row in rows[1:]:
        cells = [row[column] for column in id_columns if column < len(row)] if id_columns else row
        split = row[split_column] if split_column is not None and split_column < len(row) else None
        found.append(_row(file, cells, split))
    return found


def _row(file: Path, cells: Iterable[Any], split: str | None = None) -> SplitRow:
    names = tuple(str(cell) for cell in cells if isinstance(cell, str | int) and str(cell).strip())
    if not names:
        raise ValueError(f"the split file {file} has a row without a name")
    known = normal_split(split) if split else split_in_name(file.stem)
    if known is None:
        raise ValueError(
            f"the split file {file} has no column 'split', and its name holds none of train, val and test"
        )
    return SplitRow(names, known, file.name)
