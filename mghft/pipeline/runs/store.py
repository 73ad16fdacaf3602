"""The rows of a run on their way to the disk: journal, then shard; a sticker has one row and keeps it."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.runs.journal import Journal, free_journal_path, journal_paths, read_journal
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import belongs_to, iterate_shards, next_shard_path, read_shard, write_shard
from mghft.pipeline.runs.worker import Worker
from mghft.pipeline.text import unprintable


class RunStore:
    """The rows of one writer of a run folder.

    A row is in the journal as soon as it is added. Full shards are written by a thread; then their journal
    goes. A retried row takes the place of the failed one inside its shard.

    Args:
        folder: the run folder, locked by the caller.
        fingerprint: of the run's manifest.
        worker: whose share of the stickers it is, None for all of them.
        shard_rows: rows of a shard.
        image_root: root of the corpus where the shards embed the images' bytes, None where they do not.

    Attributes:
        statuses: status of every row by sticker id, as the folder was opened and `recover` left it.

    Raises:
        ValueError: a shard is damaged or of another run, or a sticker is duplicated.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        worker: Worker | None = None,
        shard_rows: int = 512,
        image_root: Path | None = None,
    ) -> None:
        self._folder, self._fingerprint, self._worker = folder, fingerprint, worker
        self._shard_rows, self._image_root = shard_rows, image_root
        self.statuses = row_statuses(folder, fingerprint)
        self._pending: list[Row] = []
        self._journal: Journal | None = None
        self._shard_of: dict[str, Path] = {}
        self._retried: dict[Path, list[Row]] = {}
        self._open_retries: dict[Path, int] = {}
        self._retry_journal: Journal | None = None
        self._writer = ThreadPoolExecutor(1, "write")
        self._written: Future[None] | None = None

    def recover(self) -> int:
        """Put the rows of a killed process' journals into a shard; return how many came back.

        Images are embedded again; a row whose image is no longer the same is dropped.
        """
        paths = journal_paths(self._folder, self._worker)
        rows: dict[str, Row] = {}
        for path in paths:
            for row in read_journal(path, self._fingerprint):
                if self._image_root is None or _embed_again(row, self._image_root):
                    rows[row["sticker_id"]] = row
        new = [row for name, row in rows.items() if name not in self.statuses]
        better = {
            name: row
            for name, row in rows.items()
            if self.statuses.get(name) == "failed" and row["status"] == "ok"
        }
        if new:
            self._write(next_shard_path(self._folder, self._worker), new)
        for path, names in _by_shard(self._folder, better).items():
            self._replace(path, [better[name] for name in names])
        for path in paths:
            path.unlink()
        self.statuses.update((row["sticker_id"], row["status"]) for row in (*new, *better.values()))
        return len(new) + len(better)

    def retry(self, ids: Sequence[str]) -> None:
        """Let rows of these ids, which failed before, take the place of the old ones from now on."""
        for path, names in _by_shard(self._folder, set(ids)).items():
            self._shard_of.update(dict.fromkeys(names, path))
            self._open_retries[path] = len(names)

    def add(self, row: Row) -> None:
        """Keep a finished row.

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
        """Write what is still pending; every row added is in a shard afterwards.

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
        path = free_journal_path(self._folder, self._worker, kind)
        with _plain_words(path):
            return Journal(path, self._fingerprint)

    def _submit(self) -> None:
        """Hand the pending rows to the writer; one shard at a time is being written."""
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
            self._write(next_shard_path(self._folder, self._worker), rows)
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        if journal is not None:
            journal.remove()

    def _write(self, path: Path, rows: Sequence[Row]) -> None:
        with _plain_words(path):
            write_shard(path, rows, self._fingerprint, images=self._image_root is not None)

    def _replace(self, path: Path, rows: Sequence[Row]) -> None:
        """Write a shard anew with some of its rows replaced: at every instant each sticker has one row."""
        fresh = {row["sticker_id"]: row for row in rows}
        merged = [fresh.get(row["sticker_id"], row) for row in read_shard(path).to_pylist()]
        self._write(path, merged)


def row_statuses(folder: Path, fingerprint: str) -> dict[str, str]:
    """Read the status of every row in the folder's shards, by sticker id.

    Raises:
        ValueError: a shard is damaged or of another run, or a sticker is duplicated.
    """
    statuses: dict[str, str] = {}
    for path, table in iterate_shards(folder, ["sticker_id", "status"]):
        if not belongs_to(table, fingerprint):
            raise ValueError(f"the shard {path} belongs to another run: move it out of the folder")
        for sticker_id, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if sticker_id in statuses:
                raise ValueError(
                    f"the sticker {sticker_id!r} is duplicated in {folder}: look with `mghft verify`"
                )
            statuses[sticker_id] = status
    return statuses


def check_rows(folder: Path, fingerprint: str, ids: Sequence[str]) -> None:
    """Check that every sticker has a row.

    Never seen to fail after a run; should it happen, nobody is to learn of it from the trainer.

    Raises:
        ValueError: one has none.
    """
    statuses = row_statuses(folder, fingerprint)
    if missing := [name for name in ids if name not in statuses]:
        raise ValueError(
            f"{len(missing)} of {len(ids)} stickers have no row, the first is {missing[0]!r}: "
            "start the same command again"
        )


def _embed_again(row: Row, root: Path) -> bool:
    """Put the bytes of its image into a row of a journal; return whether they are those it was made of."""
    row["image"] = None
    try:
        content = read_image(root, unprintable(row["path"]))
    except ImageError:
        return row["image_sha256"] is None
    row["image"] = {"bytes": content, "path": row["path"]}
    return hashlib.sha256(content).hexdigest() == row["image_sha256"]


@contextmanager
def _plain_words(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write into a sentence that tells what to do."""
    try:
        yield
    except OSError as error:
        hint = "free some space and " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OSError(
            f"{path} cannot be written ({error.strerror or error}): the rows finished before are kept; "
            f"{hint}start the same command again"
        ) from error


def _by_shard(folder: Path, wanted: Collection[str]) -> dict[Path, list[str]]:
    """Group ids by the shard that holds their row."""
    if not wanted:
        return {}
    names = {
        path: [name for name in table.column("sticker_id").to_pylist() if name in wanted]
        for path, table in iterate_shards(folder, ["sticker_id"])
    }
    return {path: held for path, held in names.items() if held}
