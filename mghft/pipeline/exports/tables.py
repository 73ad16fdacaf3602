"""A run as JSON lines or CSV, shard by shard (MGHFT's own annotation files: annotations_mg.py)."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from mghft.pipeline.files import write_atomically
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import SCHEMA, iterate_shards

Row = dict[str, Any]


def export_rows(
    folder: Path, format: str, out: Path | None = None, *, only_ok: bool = False, force: bool = False
) -> tuple[str, int]:
    """Writes one row per sticker with every column of the shards except embedded images.

    Args:
        folder: the run.
        format: "jsonl" or "csv".
        out: file to write, "-" for standard output, None for export.jsonl or export.csv in the run folder.
        only_ok: leave failed rows out.
        force: replace a file that is there.

    Returns:
        Where the rows went, and how many.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: the format is unknown, a shard damaged, or the file already exists.
    """
    writers: dict[str, Callable[[IO[bytes], Iterator[Row]], int]] = {"jsonl": _write_jsonl, "csv": _write_csv}
    if format not in writers:
        raise ValueError(f"--format is {format!r}: give jsonl, csv or annotations-mg")
    read_manifest(folder)
    rows = run_rows(folder, SCHEMA.names, only_ok=only_ok)
    if out is not None and str(out) == "-":
        count = writers[format](sys.stdout.buffer, rows)
        sys.stdout.buffer.flush()
        return "standard output", count
    path = folder / f"export.{format}" if out is None else out
    check_target(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    counts: list[int] = []
    write_atomically(path, lambda file: counts.append(writers[format](file, rows)))
    return str(path), counts[0]


def run_rows(folder: Path, columns: list[str], *, only_ok: bool = False) -> Iterator[Row]:
    """The rows of a run, one shard in memory at a time."""
    for _, shard in iterate_shards(folder, columns):
        for batch in shard.to_batches(max_chunksize=256):
            for row in batch.to_pylist():
                if not only_ok or row["status"] == "ok":
                    yield row


def check_target(path: Path, force: bool) -> None:
    """Refuses to replace a file unasked.

    Raises:
        ValueError: the path is a folder, or a file that is there while `force` is not set.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file with --out")
    if path.exists() and not force:
        raise ValueError(
            f"the file {path} already exists: give another with --out, or replace it with --force"
        )


def _write_jsonl(file: IO[bytes], rows: Iterator[Row]) -> int:
    count = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False)
        # Some readers end a line at these too; JSON may hold them escaped.
        for character in "\u0085\u2028\u2029":
            line = line.replace(character, f"\\u{ord(character):04x}")
        file.write(line.encode() + b"\n")
        count += 1
    return count


def _write_csv(file: IO[bytes], rows: Iterator[Row]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    try:
        table = csv.DictWriter(text, SCHEMA.names)
        table.writeheader()
        count = 0
        for row in rows:
            table.writerow(row)
            count += 1
        text.flush()
    finally:
        text.detach()
    return count
