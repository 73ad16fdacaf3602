"""A run as JSON lines or CSV, shard by shard; annotation files of the released code: mghft_annotations."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mghft.pipeline.files import check_target, write_atomically
from mghft.pipeline.runs.corrections import Corrections, open_corrections
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import EMOJI_FIELD, SCHEMA, has_emoji, iterate_shards
from mghft.pipeline.views import VIEWS

# Some readers end a line at these too; JSON may hold them escaped.
_LINE_ENDS = str.maketrans({character: f"\\u{ord(character):04x}" for character in "\u0085\u2028\u2029"})
_BATCH_ROWS = 256


class Export(NamedTuple):
    """The target of an export, and the number of rows it got."""

    target: str
    rows: int


def export_rows(
    folder: Path,
    format: str,
    out: Path | None = None,
    *,
    only_ok: bool = False,
    force: bool = False,
    corrections: Path | None = None,
) -> Export:
    """Write one row per sticker with every column of the shards except embedded images.

    Args:
        folder: the run.
        format: "jsonl", "csv", or "excel": CSV with a mark by which Excel knows UTF-8.
        out: file to write, "-" for standard output, None for export.jsonl or export.csv in the run folder.
        only_ok: leave failed rows out.
        force: replace an existing file.
        corrections: table that is laid over the views; None: none.

    Raises:
        FileNotFoundError: the folder is not a run folder.
        ValueError: the format is unknown, a shard damaged, or the file already exists.
    """
    if format not in _FORMATS:
        raise ValueError(f"--format is {format!r}: give jsonl, csv, excel or annotations-mg")
    read_manifest(folder)
    columns = [*SCHEMA.names, *([EMOJI_FIELD.name] if has_emoji(folder) else [])]
    laid_over = open_corrections(corrections, folder)
    rows = _Counted(run_rows(folder, columns, only_ok=only_ok, corrections=laid_over))
    lines = _FORMATS[format](rows, columns)
    if str(out) == "-":
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return Export("standard output", rows.count)
    suffix = "csv" if format == "excel" else format
    path = folder / f"export.{suffix}" if out is None else out
    check_target(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.writelines(lines))
    return Export(str(path), rows.count)


def run_rows(
    folder: Path,
    columns: Sequence[str],
    *,
    only_ok: bool = False,
    corrections: Corrections | None = None,
) -> Iterator[Row]:
    """Yield the rows of a run with these columns, corrected, one shard in memory at a time."""
    # Whether a corrected sticker is described is for all of its views to say.
    read = columns if corrections is None else list(dict.fromkeys([*columns, "status", "error", *VIEWS]))
    for _, shard in iterate_shards(folder, read):
        for batch in shard.to_batches(max_chunksize=_BATCH_ROWS):
            for found in batch.to_pylist():
                row = found
                if corrections is not None:
                    corrected = corrections.lay_over(found)
                    row = {name: corrected[name] for name in columns}
                if not only_ok or row["status"] == "ok":
                    yield row


class _Counted:
    """Rows that are counted as they are read."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


class _Echo:
    """A file that returns what is written to it: csv's writers then return a row's line."""

    def write(self, text: str) -> str:
        return text


def _jsonl_lines(rows: Iterable[Row], _: Sequence[str]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS).encode() + b"\n"


def _csv_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    table = csv.DictWriter(_Echo(), columns)
    yield table.writeheader().encode()
    for row in rows:
        yield table.writerow(row).encode()


def _excel_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    yield codecs.BOM_UTF8
    yield from _csv_lines(rows, columns)


_FORMATS: dict[str, Callable[[Iterable[Row], Sequence[str]], Iterator[bytes]]] = {
    "jsonl": _jsonl_lines,
    "csv": _csv_lines,
    "excel": _excel_lines,
}
