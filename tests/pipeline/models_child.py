"""Run by test_architectures in a process of its own: describes one corpus with one model after the other.

Prints one line of JSON: for every run in the order asked for [model, rows, error]; a model in `unusable/` is
expected to fail, and all of these share one run folder.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.config import build_describe_config
from pipeline.describe import describe
from pipeline.shards import read_descriptions

card, settings, out, *models = sys.argv[1:]
runs: list[tuple[str, Any, str | None]] = []
for number, model in enumerate(models):
    run = Path(out) / (Path(model).parent.name or f"{number}-{model}")
    fields = {"card": card, "data": Path(card).parent, "model": model, "out": run}
    try:
        describe(build_describe_config(Path(settings), fields))
    except ValueError as error:
        runs.append((model, [], str(error)))
    else:
        rows = read_descriptions(run).sort_by("sticker_id").to_pylist()
        runs.append((model, rows, None))
print(json.dumps(runs))
