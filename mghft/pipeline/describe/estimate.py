"""Estimate before spending: a handful of stickers is described, the rest is reckoned from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.scheduler import open_scheduler
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import write_rows

# The first ones warm the engine up (compiling, caches, the first connection) and are not timed.
_WARM_UP, _TIMED = 8, 64


def estimate(
    left: Sequence[Sticker],
    selected: int,
    start: Callable[[], Engine],
    config: DescribeConfig,
    pack: PromptPack,
) -> dict[str, Any]:
    """Describes a seeded handful, keeps nothing, and reckons the rest.

    Args:
        left: stickers without a row.
        selected: stickers of the selection, with a row or without.
        start: starts the engine; not called when nothing is left.
        config: of the run.
        pack: its prompt pack.

    Returns:
        selected, left, tried, failed, tokens a sticker and in all, seconds (an upper bound for an engine
        whose queue the handful does not fill), bytes on disk, and money where there are prices.
    """
    if not left:
        return {"selected": selected, "left": 0}
    order = np.random.default_rng(config.seed).permutation(len(left))[: _WARM_UP + _TIMED]
    handful = [left[i] for i in order]
    warm_up = handful[: min(_WARM_UP, len(handful) // 2)]
    began = time.monotonic()
    with open_scheduler(config, pack, start) as feed:
        engine_seconds = time.monotonic() - began
        rows = [row for batch in feed.rows(warm_up) for row in batch]
        began = time.monotonic()
        timed = [row for batch in feed.rows(handful[len(warm_up) :]) for row in batch]
        seconds = time.monotonic() - began
    rows += timed
    prompt = sum(row["prompt_tokens"] for row in rows) / len(rows)
    output = sum(row["output_tokens"] for row in rows) / len(rows)
    facts: dict[str, Any] = {
        "selected": selected,
        "left": len(left),
        "tried": len(rows),
        "failed_of_tried": sum(row["status"] == "failed" for row in rows),
        "prompt_tokens_each": round(prompt, 1),
        "output_tokens_each": round(output, 1),
        "prompt_tokens": round(prompt * len(left)),
        "output_tokens": round(output * len(left)),
        "engine_start_seconds": round(engine_seconds, 1),
        "seconds_at_most": round(seconds / len(timed) * len(left), 1),
        "disk_bytes": round(_bytes_each(rows, config.embed_images) * len(left)),
    }
    if (money := config.server.cost(prompt * len(left), output * len(left))) is not None:
        facts["cost"] = money
    return facts


def _bytes_each(rows: Sequence[Row], images: bool) -> float:
    file = BytesIO()
    write_rows(file, rows, "", images=images)
    return file.tell() / len(rows)
