"""Where the rows of a run go: journal, then shard, so that every sticker has one row and keeps it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mghft.pipeline.runs.journal import SUFFIX, Journal, journal_paths, read_journal
from mghft.pipeline.runs.shards import (
    FINGERPRINT_KEY,
    iterate_shards,
    next_shard_path,
    read_shard,
    write_shard,
)

Row = dict[str, Any]


class RunStore:
    """The rows of one writer of a run folder.

    A row is in the journal as soon as it is added. Full shards are written by a thread; then their journal
    goes. A retried row takes the place of the failed one inside its shard.

    Args:
        folder: the run folder, locked by the caller.
        fingerprint: of the run's manifest.
        part: (i, n) of the process' share, None for the whole.
        shard_rows: rows of a shard.
        images: whether the shards embed the image bytes.

    Raises:
        ValueError: a shard is damaged or of another run, or a sticker is duplicated.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        part: tuple[int, int] | None = None,
        shard_rows: int = 512,
        images: bool = False,
    ) -> None:
        self._folder, self._fingerprint, self._part = folder, fingerprint, part
        self._shard_rows, self._images = shard_rows, images
        self.done = rows_there(folder, fingerprint)
        self._pending: list[Row] = []
        self._journal: Journal | None = None
        self._shard_of: dict[str, Path] = {}
        self._retried: dict[Path, list[Row]] = {}
        self._open_retries: dict[Path, int] = {}
        self._retry_journal: Journal | None = None
        self._writer = ThreadPoolExecutor(1, "write")
        self._written: Future[None] | None = None

    def recover(self, embed: Callable[[Row], bool]) -> int:
        """Puts the rows of a killed process' journals into a shard.

        Args:
            embed: adds the image bytes to a row again; False when they are no longer the same.

        Returns:
            How many rows came back.
        """
        paths = journal_paths(self._folder, self._part)
        rows: dict[str, Row] = {}
        for path in paths:
            for row in read_journal(path, self._fingerprint):
                if not self._images or embed(row):
                    rows[row["sticker_id"]] = row
        new = [row for name, row in rows.items() if name not in self.done]
        better = {
            name: row
            for name, row in rows.items()
            if self.done.get(name) == "failed" and row["status"] == "ok"
        }
        if new:
            self._write(next_shard_path(self._folder, self._part), new)
        for path, batch in _by_shard(self._folder, better).items():
            self._replace(path, [better[name] for name in batch])
        for path in paths:
            path.unlink()
        self.done.update((row["sticker_id"], row["status"]) for row in (*new, *better.values()))
        return len(new) + len(better)

    def retry(self, ids: Sequence[str]) -> None:
        """From now on rows of these ids, which failed before, take the place of the old ones."""
        for path, batch in _by_shard(self._folder, dict.fromkeys(ids)).items():
            self._shard_of.update(dict.fromkeys(batch, path))
            self._open_retries[path] = len(batch)

    def add(self, row: Row) -> None:
        """Keeps a finished row.

        Raises:
            OSError: it cannot be kept (disk full); rows kept before stay.
        """
        path = self._shard_of.get(row["sticker_id"])
        if path is None:
            if self._journal is None:
                self._journal = self._new_journal()
            with _plain_words(self._journal.path):
                self._journal.append(row)
            self._pending.append(row)
            if len(self._pending) >= self._shard_rows:
                self._submit()
            return
        if self._retry_journal is None:
            self._retry_journal = self._new_journal("retry-")
        with _plain_words(self._retry_journal.path):
            self._retry_journal.append(row)
        self._retried.setdefault(path, []).append(row)
        self._open_retries[path] -= 1
        if not self._open_retries[path]:
            self._replace(path, self._retried.pop(path))

    def close(self) -> None:
        """Writes what is left; every row added is in a shard afterwards.

        Raises:
            OSError: as in `add`; the rows stay in the journal.
        """
        try:
            if self._pending:
                self._submit()
            self._wait()
            while self._retried:
                path = next(iter(self._retried))
                self._replace(path, self._retried[path])
                del self._retried[path]
            if self._retry_journal is not None:
                self._retry_journal.remove()
        finally:
            self._writer.shutdown()
            for journal in (self._journal, self._retry_journal):
                if journal is not None:
                    journal.close()

    def _new_journal(self, kind: str = "") -> Journal:
        middle = "" if self._part is None else f"{self._part[0]}of{self._part[1]}-"
        number = 0
        # Journals of shards still being written are there beside the new one.
        while (path := self._folder / f".descriptions-{middle}{kind}{number:05d}{SUFFIX}").exists():
            number += 1
        with _plain_words(path):
            return Journal(path, self._fingerprint)

    def _submit(self) -> None:
        """Hands the pending rows to the writer; one shard at a time is being written."""
        self._wait()
        rows, journal = self._pending, self._journal
        self._pending, self._journal = [], None
        self._written = self._writer.submit(self._write_and_forget, rows, journal)

    def _wait(self) -> None:
        if self._written is not None:
            written, self._written = self._written, None
            written.result()

    def _write_and_forget(self, rows: Sequence[Row], journal: Journal | None) -> None:
        try:
            self._write(next_shard_path(self._folder, self._part), rows)
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        if journal is not None:
            journal.remove()

    def _write(self, path: Path, rows: Sequence[Row]) -> None:
        with _plain_words(path):
            write_shard(path, rows, self._fingerprint, images=self._images)

    def _replace(self, path: Path, rows: Sequence[Row]) -> None:
        """Writes a shard anew with some of its rows replaced: at every instant each sticker has one row."""
        fresh = {row["sticker_id"]: row for row in rows}
        merged = [fresh.get(row["sticker_id"], row) for row in read_shard(path).to_pylist()]
        self._write(path, merged)


@contextmanager
def _plain_words(path: Path) -> Iterator[None]:
    """What the system says about a failed write, as a sentence that tells what to do."""
    try:
        yield
    except OSError as error:
        hint = "free some space and " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}): the rows finished before are kept; "
            f"{hint}start the same command again"
        ) from error


def rows_there(folder: Path, fingerprint: str) -> dict[str, str]:
    """Status by id of every row in the folder's shards.

    Raises:
        ValueError: a shard is damaged or of another run, or a sticker is duplicated.
    """
    done: dict[str, str] = {}
    for path, table in iterate_shards(folder, ["sticker_id", "status"]):
        if (table.schema.metadata or {}).get(FINGERPRINT_KEY) != fingerprint.encode():
            raise ValueError(f"the shard {path} belongs to another run: move it out of the folder")
        for sticker_id, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if sticker_id in done:
                raise ValueError(
                    f"the sticker {sticker_id!r} is duplicated in {folder}: look with `mghft verify`"
                )
            done[sticker_id] = status
    return done


def _by_shard(folder: Path, wanted: Mapping[str, object]) -> dict[Path, list[str]]:
    """The wanted ids by the shard that holds their row."""
    if not wanted:
        return {}
    found = {
        path: [name for name in table.column("sticker_id").to_pylist() if name in wanted]
        for path, table in iterate_shards(folder, ["sticker_id"])
    }
    return {path: names for path, names in found.items() if names}
