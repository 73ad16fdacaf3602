"""The state of a run folder, read from its shards: counts, failed rows, and whether it is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.processor import Processor
from mghft.pipeline.progress import Advance
from mghft.pipeline.runs.journal import journal_paths, read_journal
from mghft.pipeline.runs.manifest import asked_views, read_manifest
from mghft.pipeline.runs.pictures import compare_pictures
from mghft.pipeline.runs.rows import FAILED_LIMIT, has_views
from mghft.pipeline.runs.shards import belongs_to, iterate_shards, read_shard, shard_paths
from mghft.pipeline.text import first_and_more, plural
from mghft.pipeline.views import VIEWS

# Above this share of stickers with the same text a view says nothing about any of them.
_SAME_TEXT_WARNING = 0.5
# The shipped model under the name that manifests give it, and the corpus that it was made for.
STAND_IN, _KNOWN = "interpreter", "emoji"
_MIN_ROWS_FOR_WARNING = 20


class RunStatus(TypedDict):
    """Counts of a run; the keys are those of stats.json and of `mghft status`, in their order.

    Attributes:
        in_journal: rows that are finished and in no shard yet; absent at 0.
        distinct_texts: how many different texts there are, by view asked for.
        failures: how often each reason occurs, the most frequent first.
        warnings: what makes the texts doubtful, one sentence each.
    """

    model: str
    prompt: str
    corpus: str
    rows: int
    ok: int
    failed: int
    in_journal: NotRequired[int]
    shards: int
    prompt_tokens: int
    output_tokens: int
    distinct_texts: dict[str, int]
    failures: dict[str, int]
    warnings: list[str]


class RunStats(RunStatus):
    """Statistics of a run and of the process that worked on it last: stats.json.

    Attributes:
        cost: money for all tokens, where there are prices.
        selected: stickers that were chosen; `resumed` of them had a row before.
        recovered: rows that came back from the journal of a killed process.
        reused: rows taken over from other runs, where some were named.
        described_now: rows that this process asked for.
        processor: that it ran on; runs of before do not tell.
    """

    cost: NotRequired[float]
    selected: int
    resumed: int
    recovered: int
    reused: NotRequired[int]
    described_now: int
    engine_start_seconds: float
    seconds: float
    stickers_per_second: float
    output_tokens_per_second: float
    prompt_tokens_per_second: float
    processor: NotRequired[Processor]


def run_status(folder: Path, failed_limit: float = FAILED_LIMIT) -> RunStatus:
    """Count a run's rows.

    Args:
        folder: the run.
        failed_limit: share of failed rows above which there is a warning of them.

    Raises:
        FileNotFoundError: the folder is not a run folder.
        ValueError: its manifest or a shard is damaged.
    """
    manifest = read_manifest(folder)
    texts = {view: _Texts() for view in asked_views(manifest)}
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    prompt_tokens = output_tokens = 0
    columns = ["status", "error", "prompt_tokens", "output_tokens", *VIEWS]
    for _, table in iterate_shards(folder, columns):
        statuses.update(table.column("status").to_pylist())
        reasons.update(reason for reason in table.column("error").to_pylist() if reason)
        prompt_tokens += pc.sum(table.column("prompt_tokens")).as_py() or 0
        output_tokens += pc.sum(table.column("output_tokens")).as_py() or 0
        for view, found in texts.items():
            found.add(table.column(view).to_pylist())
    status: RunStatus = {
        "model": manifest["model"]["name"],
        "prompt": manifest["prompt"]["name"],
        "corpus": manifest["corpus"]["card"],
        "rows": statuses.total(),
        "ok": statuses["ok"],
        "failed": statuses["failed"],
        "in_journal": sum(len(read_journal(path, manifest["fingerprint"])) for path in journal_paths(folder)),
        "shards": len(shard_paths(folder)),
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "distinct_texts": {view: found.distinct for view, found in texts.items()},
        "failures": dict(reasons.most_common()),
        "warnings": list(_same_text_warnings(folder, texts)),
    }
    if (warning := stand_in_warning(status)) is not None:
        status["warnings"].insert(0, warning)
    if (warning := failed_warning(status, failed_limit)) is not None:
        status["warnings"].append(warning)
    if not status["in_journal"]:
        del status["in_journal"]
    return status


def failed_warning(status: RunStatus, limit: float) -> str | None:
    """Return a sentence about the failed rows of a run where their share is above a limit."""
    if not status["failed"] or status["failed"] <= limit * status["rows"]:
        return None
    share = 100 * status["failed"] / status["rows"]
    reason = next(iter(status["failures"]), "")
    return f"{status['failed']} of {status['rows']} stickers failed ({share:.1f} %), most often: {reason}"


def stand_in_warning(status: RunStatus) -> str | None:
    """Return a sentence where the shipped stand-in described something else than what it knows."""
    if status["model"] != STAND_IN or status["corpus"].partition(":")[0] == _KNOWN or not status["ok"]:
        return None
    distinct = max(status["distinct_texts"].values(), default=0)
    return (
        f"the texts are those of the shipped stand-in tiny-llava, which knows emoji only: at most {distinct} "
        f"distinct texts a view for {status['ok']} stickers; give --model a real one"
    )


def failed_rows(folder: Path) -> list[tuple[str, str]]:
    """Return (sticker id, reason) of every failed row.

    Raises:
        FileNotFoundError: the folder is not a run folder.
    """
    read_manifest(folder)
    return [
        (row["sticker_id"], row["error"] or "")
        for _, table in iterate_shards(folder, ["sticker_id", "status", "error"])
        for row in table.to_pylist()
        if row["status"] == "failed"
    ]


def verify_run(
    folder: Path, corpus: Corpus | None = None, *, pictures: bool = True, progress: Advance | None = None
) -> list[str]:
    """Check a run folder.

    Args:
        folder: the run.
        corpus: every sticker of it must have a row, and no other; None checks the folder alone.
        pictures: the corpus' images must be those that were described, by their hashes.
        progress: called with (images done, images in all).

    Returns:
        A sentence for everything that is wrong; an empty list means complete and sound.

    Raises:
        FileNotFoundError: the folder is not a run folder.
        ValueError: its manifest is damaged.
    """
    manifest = read_manifest(folder)
    asked = asked_views(manifest)
    problems: list[str] = []
    rows: Counter[str] = Counter()
    hashes: dict[str, str] = {}
    for path in shard_paths(folder):
        try:
            table = read_shard(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if not belongs_to(table, manifest["fingerprint"]):
            problems.append(f"the shard {path.name} belongs to another run")
        names = table.column("sticker_id").to_pylist()
        rows.update(names)
        described = zip(names, table.column("image_sha256").to_pylist(), strict=True)
        hashes.update((name, sha256) for name, sha256 in described if sha256)
        problems += [
            f"the row of {name!r} in {path.name} contradicts its own status"
            for name in _contradictory(table, asked)
        ]
    duplicated = [name for name, count in rows.items() if count > 1]
    if duplicated:
        verb = "has" if len(duplicated) == 1 else "have"
        problems.append(
            f"{plural(duplicated, 'sticker')} {verb} more than one row, the first is {duplicated[0]!r}"
        )
    if corpus is not None:
        problems += _compared(rows, {sticker.id for sticker in corpus.stickers})
        if pictures:
            problems += _compared_pictures(hashes, corpus, progress)
    return problems


def _compared_pictures(hashes: Mapping[str, str], corpus: Corpus, progress: Advance | None) -> list[str]:
    """Say which stickers have another picture than the one that was described, or none any more."""
    other, gone = compare_pictures(corpus.root, corpus.stickers, hashes, progress=progress)
    problems = []
    if other:
        problems.append(
            f"the pictures of {plural(other, 'sticker')} are not those that were described: "
            f"{first_and_more(other)}: describe them anew in another folder, or get the earlier files back"
        )
    if gone:
        problems.append(
            f"the pictures of {plural(gone, 'described sticker')} cannot be read any more: "
            f"{first_and_more((f'{name} ({reason})' for name, reason in gone), separator='; ')}"
        )
    return problems


def _contradictory(table: pa.Table, asked: Sequence[str]) -> Iterator[str]:
    """Yield the ids of rows that are called ok and are not, or the other way round."""
    for row in table.select(["sticker_id", "status", "error", *VIEWS]).to_pylist():
        sound = has_views(row, asked) and row["error"] is None
        if (row["status"] == "ok") != sound or (row["status"] != "ok" and not row["error"]):
            yield row["sticker_id"]


def _compared(rows: Mapping[str, Any], ids: set[str]) -> list[str]:
    """Say which stickers of a corpus have no row, and which rows no sticker."""
    problems = []
    missing, foreign = sorted(ids - rows.keys()), sorted(rows.keys() - ids)
    if missing:
        problems.append(
            f"{len(missing)} of {plural(ids, 'sticker')} have no row, the first is {missing[0]!r}"
        )
    if foreign:
        verb = "is" if len(foreign) == 1 else "are"
        problems.append(
            f"{plural(foreign, 'row')} {verb} of no sticker of the corpus, the first is {foreign[0]!r}"
        )
    return problems


class _Texts:
    """Texts of one view as hashes of 8 bytes: a run of 300,000 rows has some 300 MB of texts themselves."""

    def __init__(self) -> None:
        self._hashes: list[NDArray[np.int64]] = []

    def add(self, texts: Sequence[str | None]) -> None:
        self._hashes.append(np.array([hash(text) for text in texts if text], np.int64))

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return hashes and how often each occurs."""
        hashes = np.concatenate([np.zeros(0, np.int64), *self._hashes])
        return np.unique(hashes, return_counts=True)

    @property
    def distinct(self) -> int:
        return len(self.counts[0])


def _same_text_warnings(folder: Path, texts: Mapping[str, _Texts]) -> Iterator[str]:
    for view, found in texts.items():
        hashes, counts = found.counts
        rows = int(counts.sum())
        if rows < _MIN_ROWS_FOR_WARNING or counts.max() / rows <= _SAME_TEXT_WARNING:
            continue
        most = hashes[counts.argmax()]
        text = next(
            text
            for _, table in iterate_shards(folder, [view])
            for text in table.column(view).to_pylist()
            if text and hash(text) == most
        )
        yield f"{counts.max()} of {rows} stickers share one text in the view {view}: {text[:80]!r}"
