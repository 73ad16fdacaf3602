"""Load on `mghft serve`: latency and throughput side by side, a queue that is full, bodies that are none.

A service of its own on loopback, a network of the demo's size (recipe `cpu`, trained one epoch on squares
made here), pictures of 128 pixels with their four views. Every load lasts a set time. Ends by itself.

    python benchmarks/serve.py [--seconds 10]
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from mghft.pipeline.processor import processor

LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
VIEWS = ("content", "style", "intention", "details")


def make_corpus(root: Path, rng: np.random.Generator) -> None:
    rows = ["path,label,split,part,emoji,hexcode,name,style"]
    for number in range(84):
        pixels = rng.normal(30 * (number % 7) + 30, 9, (128, 128, 3)).clip(0, 255).astype(np.uint8)
        root.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"{number}.png")
        rows.append(f"{number}.png,{LABELS[number % 7]},{'train' if number < 56 else 'validation'},,,,,")
    (root / "stickers.csv").write_text("\n".join(rows) + "\n")


def train(folder: Path) -> Path:
    from mghft import train as run
    from mghft.pipeline.runs.shards import write_shard

    make_corpus(folder / "data", np.random.default_rng(0))
    described: list[dict[str, Any]] = [
        {
            "sticker_id": f"{n}.png",
            "path": f"{n}.png",
            "split": "all",
            "status": "ok",
            "finish_reason": "stop",
        }
        | {view: f"The {view} of a square of the kind {n % 7}." for view in VIEWS}
        for n in range(84)
    ]
    (folder / "described").mkdir()
    write_shard(folder / "described" / "descriptions-00000.parquet", described, "benchmark")
    return run(
        "emoji",
        data=folder / "data",
        descriptions=folder / "described",
        out=folder / "run",
        recipe="cpu",
        epochs=1,
        warmup_epochs=0,
        cache_dir=folder / "cache",
        progress=False,
    )


def bodies(count: int) -> list[bytes]:
    """JSON of one sticker each, all different, so that nothing could be remembered."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(file, "PNG")
        views = {view: f"A {view} that nobody wrote before, number {number}." for view in VIEWS}
        image = base64.b64encode(file.getvalue()).decode()
        made.append(json.dumps({"stickers": [{"image": image, "views": views}]}).encode())
    return made


def load(url: str, made: list[bytes], concurrency: int, seconds: float) -> dict[str, float]:
    times: list[float] = []
    statuses: list[int] = []
    end = time.perf_counter() + seconds

    def work(first: int) -> None:
        with httpx2.Client(timeout=60) as client:
            number = first
            while time.perf_counter() < end:
                began = time.perf_counter()
                answer = client.post(
                    f"{url}/v1/predict",
                    content=made[number % len(made)],
                    headers={"content-type": "application/json"},
                )
                times.append(time.perf_counter() - began)
                statuses.append(answer.status_code)
                number += concurrency

    began = time.perf_counter()
    threads = [threading.Thread(target=work, args=(first,)) for first in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - began
    good = [one for one, status in zip(times, statuses, strict=True) if status == 200]
    return {
        "requests": len(times),
        "ok": len(good),
        "429": statuses.count(429),
        "p50_ms": 1000 * statistics.median(good) if good else float("nan"),
        "p95_ms": 1000 * float(np.quantile(good, 0.95)) if good else float("nan"),
        "per_second": len(good) / taken,
    }


def malformed(url: str, seconds: float) -> dict[str, int]:
    """Bodies that are none, one after the other; every answer is a sentence with 4xx."""
    kinds = [
        (b"{", "application/json"),
        (b"[" * 50_000, "application/json"),
        (b'{"stickers": [{"image": "%%%"}]}', "application/json"),
        (b'{"stickers": [{"image": "bm8gcGljdHVyZQ=="}]}', "application/json"),
        (b"--x\r\n\r\nfiles", "multipart/form-data; boundary=x"),
        (b"\x00" * 1000, "text/plain"),
    ]
    statuses: dict[str, int] = {}
    end = time.perf_counter() + seconds
    with httpx2.Client(timeout=60) as client:
        while time.perf_counter() < end:
            for body, kind in kinds:
                answer = client.post(f"{url}/v1/predict", content=body, headers={"content-type": kind})
                statuses[str(answer.status_code)] = statuses.get(str(answer.status_code), 0) + 1
    return statuses


class Service:
    def __init__(self, run: Path, *options: str) -> None:
        command = [sys.executable, "-m", "mghft", "serve", str(run), "--port", "0", "--no-text", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ}
        )
        assert self.process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline())
        assert found
        self.url = found[0]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    print(json.dumps(processor()))
    with tempfile.TemporaryDirectory() as folder:
        run = train(Path(folder))
        made = bodies(400)
        for batch in ("32", "1"):
            service = Service(run, "--max-batch", batch)
            load(service.url, made, 4, 2)
            for concurrency in (1, 8, 32):
                found = load(service.url, made, concurrency, seconds)
                print(f"max batch {batch}, {concurrency} at once: {json.dumps(found)}", flush=True)
            service.close()
        service = Service(run, "--max-queue", "8")
        print(f"queue of 8, 32 at once: {json.dumps(load(service.url, made, 32, seconds))}")
        print(f"malformed bodies: {json.dumps(malformed(service.url, seconds / 2))}")
        print(f"afterwards, 1 at once: {json.dumps(load(service.url, made, 1, seconds / 2))}")
        service.close()


if __name__ == "__main__":
    main()
