"""What stands in a run folder: counts, failed rows, completeness; the run's stats.json and dataset card."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.runs.journal import journal_paths, read_journal
from mghft.pipeline.runs.manifest import asked_views, read_manifest
from mghft.pipeline.runs.shards import FINGERPRINT_KEY, iterate_shards, read_shard, shard_paths
from mghft.pipeline.views import VIEWS

# Above this share of stickers with the same text a view says nothing about any of them.
_SAME_TEXT_WARNING = 0.5
_MIN_ROWS_FOR_WARNING = 20


def run_status(folder: Path) -> dict[str, Any]:
    """Counts of a run, read from its shards.

    Returns:
        rows, ok, failed, in_journal (finished, in no shard yet; left out at 0), shards, tokens,
        distinct_texts (view asked for: count), failures (reason: count), warnings.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: its manifest or a shard is damaged.
    """
    manifest = read_manifest(folder)
    texts: dict[str, Counter[str]] = {view: Counter() for view in asked_views(manifest)}
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    prompt_tokens = output_tokens = 0
    columns = ["status", "error", "prompt_tokens", "output_tokens", *VIEWS]
    for _, table in iterate_shards(folder, columns):
        statuses.update(table.column("status").to_pylist())
        reasons.update(reason for reason in table.column("error").to_pylist() if reason)
        prompt_tokens += pc.sum(table.column("prompt_tokens")).as_py() or 0
        output_tokens += pc.sum(table.column("output_tokens")).as_py() or 0
        for view, counts in texts.items():
            counts.update(text for text in table.column(view).to_pylist() if text)
    warnings = []
    for view, counts in texts.items():
        rows = counts.total()
        text, most = counts.most_common(1)[0] if counts else ("", 0)
        if rows >= _MIN_ROWS_FOR_WARNING and most / rows > _SAME_TEXT_WARNING:
            warnings.append(f"{most} of {rows} stickers share one text in the view {view}: {text[:80]!r}")
    in_journal = sum(len(read_journal(path, manifest["fingerprint"])) for path in journal_paths(folder))
    return {
        "model": manifest["model"]["name"],
        "prompt": manifest["prompt"]["name"],
        "corpus": manifest["corpus"]["card"],
        "rows": statuses.total(),
        "ok": statuses["ok"],
        "failed": statuses["failed"],
        **({"in_journal": in_journal} if in_journal else {}),
        "shards": len(shard_paths(folder)),
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "distinct_texts": {view: len(counts) for view, counts in texts.items()},
        "failures": dict(reasons.most_common()),
        "warnings": warnings,
    }


def failed_rows(folder: Path) -> list[tuple[str, str]]:
    """(sticker id, reason) of every failed row.

    Raises:
        FileNotFoundError: the folder is no run.
    """
    read_manifest(folder)
    return [
        (row["sticker_id"], row["error"] or "")
        for _, table in iterate_shards(folder, ["sticker_id", "status", "error"])
        for row in table.to_pylist()
        if row["status"] == "failed"
    ]


def verify_run(folder: Path, corpus: Corpus | None = None) -> list[str]:
    """What is wrong with a run folder, one sentence each; an empty list means complete and sound.

    Args:
        folder: the run.
        corpus: every sticker of it must have a row, and no other; None checks the folder alone.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: its manifest is damaged.
    """
    manifest = read_manifest(folder)
    asked = asked_views(manifest)
    problems: list[str] = []
    seen: Counter[str] = Counter()
    for path in shard_paths(folder):
        try:
            table = read_shard(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if (table.schema.metadata or {}).get(FINGERPRINT_KEY) != manifest["fingerprint"].encode():
            problems.append(f"the shard {path.name} belongs to another run")
        seen.update(table.column("sticker_id").to_pylist())
        for row in table.select(["sticker_id", "status", "error", *VIEWS]).to_pylist():
            whole = all(bool(row[view]) == (view in asked) for view in VIEWS) and row["error"] is None
            if (row["status"] == "ok") != whole or (row["status"] != "ok" and not row["error"]):
                problems.append(f"the row of {row['sticker_id']!r} in {path.name} contradicts its own status")
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        problems.append(f"{len(twice)} stickers have more than one row, the first is {twice[0]!r}")
    if corpus is not None:
        ids = {sticker.id for sticker in corpus.stickers}
        missing, foreign = sorted(ids - seen.keys()), sorted(seen.keys() - ids)
        if missing:
            problems.append(f"{len(missing)} of {len(ids)} stickers have no row, the first is {missing[0]!r}")
        if foreign:
            problems.append(
                f"{len(foreign)} rows are of no sticker of the corpus, the first is {foreign[0]!r}"
            )
    return problems
