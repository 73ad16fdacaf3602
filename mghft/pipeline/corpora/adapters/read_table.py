"""Tables as files: CSV in the encodings that circulate, JSON lines, Parquet; every cell as text."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.csv_text import read_cells, read_text
from mghft.pipeline.text import one_line, valid_utf8

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# Usual names of the columns of labels and of texts, the likeliest first.
LABEL_COLUMNS = ("label", "label_name", "emotion", "sentiment", "class", "category", "sentiment_category")
TEXT_COLUMNS = ("text", "caption", "ocr", "ocr_text", "sentence")
# Zero-width signs and marks of direction, which editors and chats leave in words.
_NO_WIDTH = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF, 0x00AD))
Row = dict[str, str]
# A row and its place ("file, line 3").
PlacedRow = tuple[str, Row]


def read_rows(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    """Read a table: its column names, and its rows with their places.

    Raises:
        ValueError: the file is no table of its kind; of a row, once the iterator gets there.
    """
    if file.suffix.lower() == ".parquet":
        return _read_parquet(file)
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        return _read_json_lines(file)
    return _read_csv(file)


def as_text(value: Any) -> str:
    """Return a cell as text: None and NaN are the empty text, 4.0 is "4"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return valid_utf8(str(value))


def find_column(header: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Return the first column with one of the wanted names, whatever its case and blanks."""
    columns = {plain_name(name): name for name in reversed(list(header))}
    return next((columns[name] for name in wanted if name in columns), None)


def plain_name(name: str) -> str:
    """Return a column's name in lower case, its words joined by one `_`."""
    return "_".join(name.replace("-", " ").replace("_", " ").split()).casefold()


def clean_name(value: str) -> str:
    """Return a cell that names something without blanks around it or twice in it, its letters composed.

    Blanks of every width count, and signs of no width.
    """
    return " ".join(unicodedata.normalize("NFC", value.translate(_NO_WIDTH)).split())


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of names that differ in case, width or punctuation alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        groups.setdefault("".join(filter(str.isalnum, plain)) or plain, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def numbers_first(name: str) -> tuple[int, str]:
    """Return a sort key of labels: numbers in their own order (10 after 9) after all other names."""
    return (int(name) if name.isdecimal() else -1, name)


def _read_csv(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    rows = read_cells(read_text(file, "CSV")[0], file)
    names = [cell.strip() for cell in rows[0].cells] if rows else []
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"{file} has the column {twice[0]!r} twice: give every column a name of its own")
    return names, ((f"{file}, line {line}", dict(zip(names, cells, strict=True))) for line, cells in rows[1:])


def _read_json_lines(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        for number, line in enumerate(read_text(file, "table of JSON lines")[0].split("\n"), start=1):
            if line.strip():
                rows.append((f"{file}, line {number}", json.loads(line)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file} has no JSON object in each line ({error})") from None
    if wrong := next((place for place, row in rows if not isinstance(row, dict)), None):
        raise ValueError(f"{wrong}: this is no JSON object")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    return names, ((place, {name: as_text(row.get(name)) for name in names}) for place, row in rows)


def _read_parquet(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    errors = (pa.ArrowException, OSError, UnicodeDecodeError)
    try:
        source = pq.ParquetFile(file)
    except errors as error:
        raise ValueError(f"{file} is no Parquet file ({one_line(error, 200)})") from None
    # Pictures inside the table are no text; mghft data import writes them as files.
    names = [field.name for field in source.schema_arrow if not pa.types.is_nested(field.type)]

    def place_rows() -> Iterator[PlacedRow]:
        number = 0
        try:
            for batch in source.iter_batches(columns=names):
                for row in batch.to_pylist():
                    yield f"{file}, row {number}", {name: as_text(row[name]) for name in names}
                    number += 1
        except errors as error:
            raise ValueError(f"{file} is a damaged Parquet file ({one_line(error, 200)})") from None

    return names, place_rows()
