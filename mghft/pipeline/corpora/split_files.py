"""Files that give splits, in the shapes that circulate: rows of names, each with a split."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.read_table import decode, plain_name
from mghft.pipeline.corpora.sticker import SPLIT_NAMES

_FILE_OF = re.compile(r"(?<![a-z])(train(?:ing)?|validation|valid|val|dev|test(?:ing)?)(?![a-z])")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
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
_ENDS = {"training": "train", "testing": "test", **SPLIT_NAMES}


@dataclass(frozen=True)
class Given:
    """One row: the cells that may be its sticker's name; its split; the name of its file."""

    names: tuple[str, ...]
    split: str
    file: str


def read_given(source: str) -> list[Given]:
    """Reads a file, the files of a folder, or those of a pattern (`folder/avg_*_label_E.csv`).

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: a file has another shape, or says nowhere which split it is.
    """
    rows = [row for file in _files(source) for row in _read(file)]
    if not rows:
        raise ValueError(f"the splits {source} are empty")
    return rows


def split_of_name(stem: str) -> str | None:
    """The split in a file's name: `avg_val_label_E` and `SintVal2` are validation."""
    found = _FILE_OF.findall(_CAMEL.sub("_", stem).lower())
    return normal(found[-1]) if found else None


def normal(split: str) -> str:
    """A split by our name for it."""
    plain = split.strip().lower()
    return _ENDS.get(plain, plain if plain in ("train", "validation", "test") else split.strip())


def _files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES and one.is_file())
        files = [one for one in files if split_of_name(one.stem)]
    else:
        files = sorted(one for one in path.parent.glob(path.name) if one.is_file())
    if not files:
        raise FileNotFoundError(
            f"the splits {source} do not exist: give a file, a folder with files named train, val and test, "
            "or a pattern of such files"
        )
    return files


def _read(file: Path) -> list[Given]:
    try:
        text = decode(file.read_bytes())[0]
        if file.suffix.lower() == ".json":
            return _json(file, json.loads(text))
        if file.suffix.lower() == ".jsonl":
            return _json(file, [json.loads(line) for line in text.split("\n") if line.strip()])
        return _table(file, text)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        raise ValueError(f"the split file {file} cannot be read ({' '.join(str(error).split())})") from None


def _json(file: Path, content: Any) -> list[Given]:
    """A list of names or of rows; or an object of such lists by split, or of splits by name."""
    if isinstance(content, list):
        return [_json_row(file, one, None) for one in content]
    if isinstance(content, dict) and content:
        if all(isinstance(value, list) for value in content.values()):
            return [_json_row(file, one, split) for split, rows in content.items() for one in rows]
        if all(isinstance(value, str) for value in content.values()):
            return [Given((name,), normal(value), file.name) for name, value in content.items()]
    raise ValueError(f"the split file {file} is neither a list nor an object of lists by split")


def _json_row(file: Path, row: Any, split: str | None) -> Given:
    names: list[str] = []
    if isinstance(row, str | int):
        names = [str(row)]
    elif isinstance(row, dict):
        plain = {plain_name(str(key)): value for key, value in row.items()}
        split = split or next((str(plain[key]) for key in _SPLIT_COLUMNS if plain.get(key)), None)
        names = _names(plain[key] for key in _ID_COLUMNS if key in plain)
    elif isinstance(row, list):
        names = _names(row)
    return Given(_some(names, file), _known(split, file), file.name)


def _table(file: Path, text: str) -> list[Given]:
    """With a header or without; a column of splits, or the split in the file's name."""
    # Ours, and those of people who comment, begin with such lines.
    while text.startswith("#"):
        text = text.partition("\n")[2]
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    if not rows:
        return []
    header = [plain_name(cell) for cell in rows[0]]
    ids = [header.index(name) for name in _ID_COLUMNS if name in header]
    at = next((header.index(name) for name in _SPLIT_COLUMNS if name in header), None)
    if not ids and at is None:
        return [Given(_some(_names(row), file), _known(None, file), file.name) for row in rows]
    found = []
    for row in rows[1:]:
        split = row[at] if at is not None and at < len(row) and row[at] else None
        names = _names(row[i] for i in ids if i < len(row)) if ids else _names(row)
        found.append(Given(_some(names, file), _known(split, file), file.name))
    return found


def _names(cells: Iterable[Any]) -> list[str]:
    return [str(cell) for cell in cells if isinstance(cell, str | int) and str(cell).strip()]


def _some(names: list[str], file: Path) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"the split file {file} has a row without a name")
    return tuple(names)


def _known(split: str | None, file: Path) -> str:
    found = normal(split) if split else split_of_name(file.stem)
    if found is None:
        raise ValueError(
            f"the split file {file} has no column 'split', and its name holds none of train, val and test"
        )
    return found
