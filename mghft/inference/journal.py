"""Predictions of many files on their way to one file: kept line by line, finished in one step.

While the work goes on there is `.NAME.part` beside the file: JSON lines that survive whatever ends the
process. The same command goes on from there; the file itself appears once it is whole.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from mghft.inference.prediction import Prediction
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.files import sync, write_atomically
from mghft.pipeline.views import VIEWS

Format = Literal["jsonl", "csv", "parquet"]
_BY_SUFFIX: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
# Rows of a row group, and of what is in memory at the end.
_CHUNK = 4096
# What a spreadsheet takes for a formula; a description may begin with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def format_of(path: Path, wanted: str | None) -> Format:
    """Return the format of a file: the wanted one, or by its suffix.

    Raises:
        ValueError: neither says one.
    """
    if wanted in get_args(Format):
        return wanted  # type: ignore[return-value]
    found = _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        raise ValueError(f"{path} says no format: end it in {', '.join(_BY_SUFFIX)}, or give --format")
    return found


class PredictionJournal:
    """The predictions of one command; while it is open, other processes are kept out.

    Args:
        path: of the file to be.
        labels: names in index order.
        facts: all that decides the predictions; a journal of other facts is not gone on with.
        overwrite: replace a file that exists.

    Raises:
        ValueError: the file exists, or a journal of other weights or settings does.
        RunLockedError: another process writes it.
    """

    def __init__(
        self,
        path: Path,
        labels: Sequence[str],
        facts: Mapping[str, Any],
        *,
        form: Format,
        overwrite: bool = False,
    ) -> None:
        self.path, self._labels, self._format = path, labels, form
        self._journal = path.with_name(f".{path.name}.part")
        self._digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give --out a file")
        if path.exists() and not overwrite and not self._journal.exists():
            raise ValueError(f"{path} already exists: give another --out, or --overwrite")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._done: set[bytes] = set()
        self._file: IO[bytes] = self._journal.open("ab")
        try:
            self._lock()
            self.resumed = self._recover()
        except BaseException:
            self._file.close()
            raise
        if self._journal.stat().st_size == 0:
            self._append({"facts": self._digest})

    def __contains__(self, name: str) -> bool:
        return _short(name) in self._done

    def add(self, predictions: Sequence[Prediction]) -> None:
        """Keep predictions: they are in the system's hands when this returns."""
        for prediction in predictions:
            self._append(prediction.to_dict())
            self._done.add(_short(prediction.name))
        self._file.flush()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield what was kept, in the order in which it came."""
        self._file.flush()
        with self._journal.open(encoding="utf-8") as file:
            next(file, None)
            for line in file:
                yield json.loads(line)

    def finish(self) -> None:
        """Write the file as a whole and remove the journal; raises OSError, and both stay as they are."""
        write = {"jsonl": self._write_jsonl, "csv": self._write_csv, "parquet": self._write_parquet}
        write_atomically(self.path, write[self._format])
        self._file.close()
        self._journal.unlink()

    def close(self) -> None:
        """Leave the journal for the next time."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sync(self._journal.parent)

    def _append(self, content: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def _lock(self) -> None:
        """Keep others out until this process closes the journal or ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(
                f"another process writes to {self.path}: wait for it, end it, or give another --out"
            ) from None

    def _recover(self) -> int:
        """Read the names of a journal, and cut off a line that a kill left half written."""
        with self._journal.open("rb+") as file:
            first = file.readline()
            if not first.endswith(b"\n"):
                file.truncate(0)
                return 0
            if _loaded(first).get("facts") != self._digest:
                raise ValueError(
                    f"{self._journal} holds unfinished predictions of other weights or settings: end them "
                    "with the command that began them, remove the file, or give another --out"
                )
            whole = file.tell()
            for line in file:
                name = _loaded(line).get("name") if line.endswith(b"\n") else None
                if name is None:
                    break
                self._done.add(_short(name))
                whole += len(line)
            file.truncate(whole)
        return len(self._done)

    def _write_jsonl(self, file: IO[bytes]) -> None:
        for row in self.rows():
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def _write_csv(self, file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(csv_header(self._labels))
        writer.writerows(csv_row(row, self._labels) for row in self.rows())
        text.detach()

    def _write_parquet(self, file: IO[bytes]) -> None:
        schema = prediction_schema(self._labels)
        with pq.ParquetWriter(file, schema) as writer:
            chunk: list[dict[str, Any]] = []
            for row in self.rows():
                chunk.append(flat_row(row, self._labels))
                if len(chunk) == _CHUNK:
                    writer.write_table(pa.Table.from_pylist(chunk, schema))
                    chunk = []
            writer.write_table(pa.Table.from_pylist(chunk, schema))


def prediction_schema(labels: Sequence[str]) -> pa.Schema:
    """Return the columns of a Parquet file of predictions: one row per picture, null where it failed."""
    return pa.schema(
        [
            ("name", pa.string()),
            ("label", pa.string()),
            ("confidence", pa.float64()),
            ("probabilities", pa.struct([(label, pa.float64()) for label in labels])),
            *((view, pa.string()) for view in VIEWS),
            ("missing_views", pa.list_(pa.string())),
            ("seconds", pa.float64()),
            ("error", pa.string()),
            ("describing_error", pa.string()),
        ]
    )


def flat_row(row: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return the columns of `prediction_schema` of a row of `Prediction.to_dict`."""
    columns = {name: value for name, value in row.items() if name not in ("views", "probabilities")}
    views, known = row["views"], row["probabilities"]
    probabilities = {label: known[label] for label in labels} if known else None
    return {**columns, "probabilities": probabilities, **{view: views.get(view) for view in VIEWS}}


def csv_header(labels: Sequence[str]) -> list[str]:
    """Return the columns of a CSV of predictions."""
    before, after = ["name", "label", "confidence"], ["missing_views", "error", "describing_error"]
    return [*before, *(f"p_{label}" for label in labels), *VIEWS, *after]


def csv_row(row: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return the cells of a row of `Prediction.to_dict`; what a spreadsheet would run gets a '."""
    probabilities, views = row["probabilities"], row["views"]
    numbers = [f"{probabilities[label]:.6f}" if probabilities else "" for label in labels]
    confidence = "" if row["confidence"] is None else f"{row['confidence']:.6f}"
    before = [_cell(row["name"]), _cell(row["label"]), confidence]
    after = [" ".join(row["missing_views"]), _cell(row["error"]), _cell(row["describing_error"])]
    return [*before, *numbers, *(_cell(views.get(view)) for view in VIEWS), *after]


def _cell(text: str | None) -> str:
    text = text or ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _short(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()
