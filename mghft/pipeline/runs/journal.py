"""The journal: finished rows that are in no shard yet, one line each, so that a kill costs seconds of work.

A line is the CRC-32 of its JSON, a blank, the JSON. Lines are appended with one system call each and survive
the process at once; what a power cut tears or loses fails its CRC and is described again. A journal lives as
long as its rows are in no shard; a row that is in both is the shard's. Image bytes are not in it.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.worker import Worker, file_prefix

SUFFIX = ".rows"


class Journal:
    """A new file to which rows are appended.

    Args:
        path: the file; an existing one is not touched (FileExistsError).
        fingerprint: of the run's manifest; the first line.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._append({"fingerprint": fingerprint})

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a finished row.

        Raises:
            OSError: the disk is full or the like; what was appended before stays readable.
        """
        self._append({key: value for key, value in row.items() if key != "image"})

    def close(self) -> None:
        """Close the file and leave it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Close and delete the file: its rows are in a shard now."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _append(self, fields: Mapping[str, Any]) -> None:
        text = json.dumps(fields, ensure_ascii=False).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        while line:
            line = line[os.write(self._file, line) :]


def read_journal(path: Path, fingerprint: str) -> list[Row]:
    """Read the sound rows of a journal; one of another run has none for us."""
    lines = _sound_lines(path)
    header = next(lines, None)
    if header is None or header.get("fingerprint") != fingerprint:
        return []
    return cast(list[Row], list(lines))


def journal_paths(folder: Path, worker: Worker | None = None) -> list[Path]:
    """List the journals in a run folder: all, or those of one worker, since others may be at work."""
    return sorted(folder.glob(f".descriptions-{file_prefix(worker)}*{SUFFIX}"))


def free_journal_path(folder: Path, worker: Worker | None = None, kind: str = "") -> Path:
    """Return a name that no journal has; those of shards still being written lie beside the new one."""
    number = 0
    while (path := folder / f".descriptions-{file_prefix(worker)}{kind}{number:05d}{SUFFIX}").exists():
        number += 1
    return path


def _sound_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines up to the first one that is torn."""
    with path.open("rb") as file:
        for line in file:
            crc, _, text = line.partition(b" ")
            if not line.endswith(b"\n") or crc != b"%08x" % zlib.crc32(text[:-1]):
                return
            yield json.loads(text)
