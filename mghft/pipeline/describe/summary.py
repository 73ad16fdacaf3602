"""What a describe run came to: stats.json and the dataset card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.progress import Progress
from mghft.pipeline.runs.readme import run_card
from mghft.pipeline.runs.status import run_status


def finish_run(
    config: DescribeConfig,
    manifest: Mapping[str, Any],
    corpus: Corpus,
    progress: Progress,
    *,
    write: bool,
) -> dict[str, Any]:
    """Statistics of the run and of this process; writes stats.json and the dataset card after work."""
    folder, part = config.out, config.worker_numbers
    status = run_status(folder)
    if (money := config.server.cost(status["prompt_tokens"], status["output_tokens"])) is not None:
        status["cost"] = money
    name = "stats.json" if part is None else f"stats-{part[0]}of{part[1]}.json"
    stats = {
        **status,
        "selected": progress.total,
        "resumed": progress.resumed,
        "recovered": progress.recovered,
        **({"reused": progress.reused} if config.reuse else {}),
        "described_now": progress.rows,
        "engine_start_seconds": round(progress.engine_seconds, 2),
        "seconds": round(progress.seconds, 2),
        **progress.rates(),
    }
    if not write and (folder / name).is_file():
        # Nothing was done: the speeds of the run that did the work are worth more than zeros.
        old = json.loads((folder / name).read_text(encoding="utf-8"))
        return {**old, **status, "selected": progress.total, "resumed": progress.resumed, "described_now": 0}
    write_json(folder / name, stats)
    if part is None:
        write_text(folder / "README.md", run_card(manifest, corpus, stats))
    return stats
