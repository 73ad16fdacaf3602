"""Moments at which a describe run kills itself (SIGKILL): start, decoding, generation, journal, shards, end.

A moment wraps one function of the running process and kills before, after, or in the middle of its n-th call.
"""

import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

STICKERS, SHARD_ROWS = 24, 8
READ = "mghft.pipeline.describe.requests.parse_responses"


@dataclass(frozen=True)
class Moment:
    """`target` is a dotted name; with `file` only calls whose arguments name that file count."""

    target: str
    when: str = "before"
    call: int = 1
    file: str | None = None


MOMENTS = {
    "start: before the corpus is listed": Moment("mghft.pipeline.describe.run.load_corpus"),
    "start: corpus listed": Moment("mghft.pipeline.describe.run.load_corpus", "after"),
    "start: before the lock": Moment("mghft.pipeline.describe.run.lock_run"),
    "start: before the engine": Moment("mghft.pipeline.describe.run._describe_remaining"),
    "manifest: half written": Moment("mghft.pipeline.runs.manifest.json.dumps", "after"),
    "manifest: before its rename": Moment("pathlib.Path.replace", "before", file="manifest.json"),
    "manifest: after its rename": Moment("pathlib.Path.replace", "after", file="manifest.json"),
    "decoding: first image": Moment("mghft.pipeline.images.prefetch.load_image"),
    "decoding: tenth image": Moment("mghft.pipeline.images.prefetch.load_image", "after", 10),
    "generation: before the first request": Moment("mghft.pipeline.describe.requests.make_requests"),
    "generation: first answer not yet read": Moment(READ),
    "generation: in the second shard": Moment(READ, "after", SHARD_ROWS + 3),
    "generation: last answer": Moment(READ, "before", STICKERS),
    "journal: first line torn": Moment("mghft.pipeline.runs.journal.os.write", "torn", 1),
    "journal: third row torn": Moment("mghft.pipeline.runs.journal.os.write", "torn", 4),
    "journal: row of the second shard torn": Moment("mghft.pipeline.runs.journal.os.write", "torn", 14),
    "journal: last row written": Moment("mghft.pipeline.runs.store.Journal.append", "after", STICKERS),
    "shard: handed to the writer": Moment("mghft.pipeline.runs.store.RunStore._submit", "after"),
    "shard: temporary file half written": Moment("mghft.pipeline.runs.shards.write_rows", "torn"),
    "shard: first, before its rename": Moment("pathlib.Path.replace", file="descriptions-00000.parquet"),
    "shard: first, after its rename": Moment(
        "pathlib.Path.replace", "after", file="descriptions-00000.parquet"
    ),
    "shard: first durable, journal not removed": Moment("mghft.pipeline.runs.store.Journal.remove"),
    "shard: second, before its rename": Moment("pathlib.Path.replace", file="descriptions-00001.parquet"),
    "shard: last, after its rename": Moment(
        "pathlib.Path.replace", "after", file="descriptions-00002.parquet"
    ),
    "end: last journal removed": Moment("mghft.pipeline.runs.store.Journal.remove", "after", 3),
    "end: statistics, before the rename": Moment("pathlib.Path.replace", file="stats.json"),
    "end: dataset card, after the rename": Moment("pathlib.Path.replace", "after", file="README.md"),
}


# The shards of the third and the fourth are those in which the journal of the second is taken up.
ONE_AFTER_THE_OTHER = [
    "generation: first answer not yet read",
    "journal: third row torn",
    "shard: first, before its rename",
    "shard: first, after its rename",
    "journal: third row torn",
    "shard: handed to the writer",
    "shard: second, before its rename",
    "decoding: first image",
    "shard: last, after its rename",
]


def die() -> None:
    """Ends this process at once, as the kernel or a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: Moment) -> None:
    """From now on this process dies at the moment."""
    owner, name = _find(moment.target)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        if moment.file is None or any(Path(str(a)).name == moment.file for a in arguments[1:]):
            calls += 1
            if calls == moment.call:
                if moment.when == "torn":
                    _write_half(original, *arguments, **named)
                if moment.when != "before":
                    original(*arguments, **named)
                die()
        return original(*arguments, **named)

    setattr(owner, name, counted)


def _find(target: str) -> tuple[Any, str]:
    """The object that holds the last name of a dotted path."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise AssertionError(f"nothing is called {target}")


def _write_half(write: Callable[..., Any], file: Any, data: Any, *rest: Any, **named: Any) -> None:
    """The first half of what a call would have written, then the end."""
    if isinstance(file, int):
        write(file, data[: len(data) // 2])
    else:
        whole = BytesIO()
        write(whole, data, *rest, **named)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
    die()
