"""Tables as files: CSV in the encodings that circulate, JSON lines, Parquet; every cell as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
Row = dict[str, str]


def read_rows(file: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    """Column names and rows of a table, each with the place it stands at (`file, line 3`).

    Raises:
        ValueError: the file is no table of its kind.
    """
    if file.suffix.lower() == ".parquet":
        return _parquet(file)
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        return _json_lines(file)
    return _csv(file)


def decode(content: bytes) -> tuple[str, str]:
    """Text and the name of its encoding: UTF-8, UTF-16 with a mark, else GB18030 (which holds GBK, GB2312).

    Raises:
        UnicodeDecodeError: it is none of them.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16"), "utf-16"
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("gb18030"), "gb18030"


def _csv(file: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
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

    def each() -> Iterator[tuple[str, Row]]:
        try:
            for row in rows:
                yield f"{file}, line {rows.line_num}", {name: row[name] or "" for name in names}
        except csv.Error as error:
            raise ValueError(f"{file} is no CSV in UTF-8 ({error}): save it again as UTF-8") from None

    return names, each()


def _json_lines(file: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    rows: list[tuple[str, dict[str, Any]]] = []
    try:
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                rows.append((f"{file}, line {number}", json.loads(line)))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{file} has no JSON object in each line ({error})") from None
    if wrong := next((where for where, row in rows if not isinstance(row, dict)), None):
        raise ValueError(f"{wrong}: this is no JSON object")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    return names, ((where, {name: as_text(row.get(name)) for name in names}) for where, row in rows)


def _parquet(file: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(file)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no Parquet file ({' '.join(str(error).split())[:200]})") from None
    # Pictures inside the table are no text; mghft data import writes them as files.
    plain = [field.name for field in source.schema_arrow if not pa.types.is_nested(field.type)]

    def each() -> Iterator[tuple[str, Row]]:
        number = 0
        try:
            for batch in source.iter_batches(columns=plain):
                for row in batch.to_pylist():
                    yield f"{file}, row {number}", {name: as_text(row[name]) for name in plain}
                    number += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file} is a damaged Parquet file ({' '.join(str(error).split())[:200]})"
            ) from None

    return plain, each()


def as_text(value: Any) -> str:
    """A cell as text; nothing is the empty text, 4.0 is "4"."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).encode("utf-8", "replace").decode("utf-8")


def named(header: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first column that has one of the wanted names, whatever its case and blanks."""
    plain = {plain_name(name): name for name in reversed(list(header))}
    return next((plain[name] for name in wanted if name in plain), None)


def plain_name(name: str) -> str:
    """A column's name in lower case, words joined by one `_`."""
    return "_".join(name.replace("-", " ").replace("_", " ").split()).casefold()
