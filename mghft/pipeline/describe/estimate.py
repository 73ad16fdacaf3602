"""Estimate before spending: a handful of stickers is described, the rest is reckoned from it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import TypedDict

import numpy as np

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.outcome import check_described
from mghft.pipeline.describe.prepare import EngineRun
from mghft.pipeline.describe.reuse import reusable_rows
from mghft.pipeline.describe.scheduler import EngineFactory, open_scheduler
from mghft.pipeline.runs.manifest import check_run
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import write_rows
from mghft.pipeline.runs.store import row_statuses

# The first ones warm the engine up (compiling, caches, the first connection) and are not timed.
_WARM_UP, _TIMED = 8, 64


class Estimate(TypedDict, total=False):
    """Cost of a run in tokens, time and money; the keys are what `mghft describe --dry-run` shows, in order.

    Attributes:
        selected: stickers of the selection, with a row or without.
        left: stickers without a row; nothing else is in the estimate when there is none.
        tried: stickers of the handful.
        prompt_tokens, output_tokens: of all that are left.
        seconds_at_most: an upper bound for an engine whose queue the handful does not fill.
        cost: money, where there are prices.
    """

    selected: int
    left: int
    tried: int
    failed_of_tried: int
    failures: dict[str, int]
    prompt_tokens_each: float
    output_tokens_each: float
    prompt_tokens: int
    output_tokens: int
    engine_start_seconds: float
    seconds_at_most: float
    disk_bytes: int
    cost: float


def estimate(run: EngineRun, engine: EngineFactory, *, seed: int) -> Estimate:
    """Describe a seeded handful, keep nothing, and reckon the rest.

    Args:
        run: what would be done.
        engine: opens the engine; not called when nothing remains.
        seed: of the handful.

    Raises:
        ValueError: the folder holds another run, or its manifest or a shard is damaged.
        EngineDiedError: as in `describe`.
        NothingDescribedError: every sticker of the handful failed.
    """
    remaining = _remaining(run)
    facts: Estimate = {"selected": len(run.stickers), "left": len(remaining)}
    if not remaining:
        return facts
    order = np.random.default_rng(seed).permutation(len(remaining))[: _WARM_UP + _TIMED]
    handful = [remaining[i] for i in order]
    warm_up = handful[: min(_WARM_UP, len(handful) // 2)]
    began = time.monotonic()
    with open_scheduler(run, engine) as scheduler:
        engine_seconds = time.monotonic() - began
        rows = [row for batch in scheduler.rows(warm_up) for row in batch]
        began = time.monotonic()
        timed = [row for batch in scheduler.rows(handful[len(warm_up) :]) for row in batch]
        seconds = time.monotonic() - began
    rows += timed
    failures = Counter(row["error"] or "" for row in rows if row["status"] == "failed")
    look = "nothing was kept, mend the cause and try again"
    check_described(len(rows), len(rows) - failures.total(), failures, look)
    prompt = sum(row["prompt_tokens"] for row in rows) / len(rows)
    output = sum(row["output_tokens"] for row in rows) / len(rows)
    facts.update(
        {
            "tried": len(rows),
            "failed_of_tried": failures.total(),
            "failures": dict(failures.most_common()),
            "prompt_tokens_each": round(prompt, 1),
            "output_tokens_each": round(output, 1),
            "prompt_tokens": round(prompt * len(remaining)),
            "output_tokens": round(output * len(remaining)),
            "engine_start_seconds": round(engine_seconds, 1),
            "seconds_at_most": round(seconds / len(timed) * len(remaining), 1),
            "disk_bytes": round(_bytes_each(rows, run.options.embed_images) * len(remaining)),
        }
    )
    if (money := run.engine.server.cost(prompt * len(remaining), output * len(remaining))) is not None:
        facts["cost"] = money
    return facts


def _remaining(run: EngineRun) -> list[Sticker]:
    """Return the stickers that would be asked about now."""
    remaining, out = list(run.stickers), run.options.out
    if out.is_dir():
        check_run(out, run.manifest)
        statuses = row_statuses(out, run.manifest["fingerprint"])
        remaining = [sticker for sticker in remaining if sticker.id not in statuses]
    reused = {row["sticker_id"] for row in reusable_rows(run, remaining)}
    return [sticker for sticker in remaining if sticker.id not in reused]


def _bytes_each(rows: Sequence[Row], images: bool) -> float:
    file = BytesIO()
    write_rows(file, rows, "", images=images)
    return file.tell() / len(rows)
