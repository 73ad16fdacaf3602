"""Run by test_architectures in a process of its own: describes one corpus with several models, prints JSON."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.config import build_describe_config
from pipeline.describe import describe
from pipeline.shards import read_descriptions
from pipeline.vllm_engine import VllmEngine

card, settings, out = (Path(argument) for argument in sys.argv[1:4])
rows: dict[str, Any] = {}
for number, name in enumerate(sys.argv[4:]):
    model = out.parent / name
    fields = {"card": str(card), "data": card.parent, "model": str(model), "out": out / f"{number}-{name}"}
    engines: list[VllmEngine] = []

    def start(source: Any, config: Any, engines: list[VllmEngine] = engines) -> VllmEngine:
        engines.append(VllmEngine(source, config.vllm))
        return engines[0]

    began = time.monotonic()
    describe(build_describe_config(settings, fields), start_engine=start)
    for engine in engines:
        engine.close()
    print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    rows[fields["out"].name] = read_descriptions(fields["out"]).to_pylist()
print(json.dumps(rows))
