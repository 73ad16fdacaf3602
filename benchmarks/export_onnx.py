"""Sizes and latencies of a network in PyTorch and in onnxruntime, float32 and int8, on two threads.

The demo's network (`--run`, whose accuracy on its test split is measured too) and MGHFT at full size with
random weights (448 pixels, 768 wide texts), which is enough for a latency and says nothing of accuracy. Of
a random network int8 may select other patches: its logits are not compared. Medians of several runs, in turn.

    python benchmarks/export_onnx.py [--run demo/runs/text] [--full]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mghft.inference.onnx import export_run
from mghft.model import MGHFT, MGHFTConfig
from mghft.model.joint import load_network
from mghft.model.onnx_export import (
    export_onnx,
    input_shapes,
    open_session,
    quantize_onnx,
    random_inputs,
    run_session,
)
from mghft.pipeline.processor import processor

THREADS = 2


def median_ms(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Take turns, so that what else the machine does is shared out."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number:
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: round(statistics.median(found), 2) for name, found in times.items()}


def measure(model: Any, onnx: Path, int8: Path, rounds: int) -> dict[str, Any]:
    shapes = input_shapes(model)
    sessions = {"onnx": open_session(onnx, THREADS), "int8": open_session(int8, THREADS)}
    found: dict[str, Any] = {"MB": {"onnx": onnx.stat().st_size / 1e6, "int8": int8.stat().st_size / 1e6}}
    for batch in (1, 16):
        inputs = random_inputs(shapes, batch, seed=0)

        def torch_run(inputs: Any = inputs) -> Any:
            with torch.inference_mode():
                return model(**inputs).logits

        works: dict[str, Callable[[], Any]] = {"torch": torch_run}
        for name, session in sessions.items():
            works[name] = lambda session=session, inputs=inputs: run_session(session, inputs)
        found[f"ms, batch {batch}"] = median_ms(works, rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, default=Path("demo/runs/text"))
    parser.add_argument("--full", action="store_true", help="MGHFT at full size too, about 10 minutes")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    print(json.dumps(processor()))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo.onnx"
        if options.run.is_dir():
            done = export_run(options.run, out, quantize=True, split="test")
            print("demo", json.dumps({"accuracy on test": done.accuracy}))
            model = load_network(options.run / "best").eval()
            assert done.quantized is not None
            print("demo", json.dumps(measure(model, out, done.quantized.path, 30)), flush=True)
        if options.full:
            model = MGHFT(MGHFTConfig.preset("default", num_classes=7)).eval()
            full = Path(folder) / "full.onnx"
            export_onnx(model, full, metadata={}, tolerance=float("inf"))
            small = quantize_onnx(full, Path(folder) / "full.int8.onnx")
            print("full", json.dumps(measure(model, full, small.path, 5)), flush=True)


if __name__ == "__main__":
    main()
