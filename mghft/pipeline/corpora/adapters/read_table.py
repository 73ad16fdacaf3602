"""Tables as files: CSV in the encodings that circulate, JSON lines, Parquet; every cell as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mghft.pipeline.text import one_line, valid_utf8

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
# Usual names of the columns of labels and of texts, the likeliest first.
LABEL_COLUMNS = ("label", "label_name", "emotion", "sentiment", "class", "category", "sentiment_category")
TEXT_COLUMNS = ("text", "caption", "ocr", "ocr_text", "sentence")
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


def decode(content: bytes) -> tuple[str, str]:
    """Return text and its encoding: UTF-8, UTF-16 with a mark, else GB18030 (which holds GBK and GB2312).

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16"), "utf-16"
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("gb18030"), "gb18030"


def as_text(value: Any) -> str:
    """Return a cell as text: None is the empty text, 4.0 is "4"."""
    if value is None:
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


def numbers_first(name: str) -> tuple[int, str]:
    """Return a sort key of labels: numbers in their own order (10 after 9) after all other names."""
    return (int(name) if name.isdecimal() else -1, name)


def _read_csv(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no CSV in UTF-8 ({error}): save it again as UTF-8") from None
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = list(rows.fieldnames or [])
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV ({error})") from None

    def place_rows() -> Iterator[PlacedRow]:
        try:
            for row in rows:
                yield f"{file}, line {rows.line_num}", {name: row[name] or "" for name in names}
        except csv.Error as error:
            raise ValueError(f"{file} is no CSV in UTF-8 ({error}): save it again as UTF-8") from None

    return names, place_rows()


def _read_json_lines(file: Path) -> tuple[list[str], Iterator[PlacedRow]]:
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                rows.append((f"{file}, line {number}", json.loads(line)))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
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
