"""The end of a describe run: stats.json and the dataset card."""

from __future__ import annotations

import json

from mghft.pipeline.describe.prepare import EngineRun
from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.processor import processor
from mghft.pipeline.progress import Progress
from mghft.pipeline.runs.status import RunStats, run_status


def finish_run(run: EngineRun, progress: Progress, *, write: bool) -> RunStats:
    """Return statistics of the run and of this process; after work write stats.json and the dataset card.

    Args:
        run: what was to be done.
        progress: what this process did.
        write: whether anything was done.
    """
    folder, worker = run.options.out, run.options.worker
    status = run_status(folder, run.options.failed_limit)
    money = run.engine.server.cost(status["prompt_tokens"], status["output_tokens"])
    path = folder / ("stats.json" if worker is None else f"stats-{worker}.json")
    if not write and path.is_file():
        # Nothing was done: the speeds of the run that did the work are worth more than zeros.
        before: RunStats = json.loads(path.read_text(encoding="utf-8"))
        stats: RunStats = {
            **before,
            **status,
            "selected": progress.total,
            "resumed": progress.resumed,
            "described_now": 0,
        }
        if money is not None:
            stats["cost"] = money
        return stats
    rates = progress.rates()
    stats = {
        **status,
        "cost": 0.0 if money is None else money,
        "selected": progress.total,
        "resumed": progress.resumed,
        "recovered": progress.recovered,
        "reused": progress.reused,
        "described_now": progress.rows,
        "engine_start_seconds": round(progress.engine_seconds, 2),
        "seconds": round(progress.seconds, 2),
        "stickers_per_second": rates["stickers_per_second"],
        "output_tokens_per_second": rates["output_tokens_per_second"],
        "prompt_tokens_per_second": rates["prompt_tokens_per_second"],
        "processor": processor(),
    }
    # A line about what was not asked for would only be in the way.
    if money is None:
        del stats["cost"]
    if not run.options.reuse:
        del stats["reused"]
    write_json(path, stats)
    if worker is None:
        write_text(folder / "README.md", run.card(stats))
    return stats
