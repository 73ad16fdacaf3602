"""What the tests of zero-shot runs share: a corpus with texts and splits, an engine with known preferences.

As a program, `zero_shot_bench.py CARD OUT LOG [REQUESTS]`: a run that notes every request in LOG and kills
itself (SIGKILL) when it is asked for the answer to request number REQUESTS.
"""

import csv
import json
import math
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from describe_bench import AtOnce
from PIL import Image

from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.zero_shot.config import ZeroShotConfig
from mghft.pipeline.zero_shot.run import ZeroShotResult, zero_shot

LABELS = ("anger", "fear", "joy")
CARD = """---
pretty_name: Feelings
mghft:
  adapter: table
  file: stickers.csv
  columns: {path: path, label: label, split: split, text: text}
  labels: [anger, fear, joy]
---
"""
SPLITS = ("train", "validation", "test")
# What the engine thinks of a letter, whatever stands behind it.
LETTER_BIAS = np.array([1.5, 0.0, -0.5])
# What it thinks of a class, whatever the picture.
CLASS_BIAS = np.array([0.0, 2.0, 0.0])


def make_corpus(root: Path, count: int, *, texts: bool = True) -> Path:
    """`count` one-coloured stickers in three splits, every other one with words on it; returns the card."""
    (root / "images").mkdir(parents=True)
    with (root / "stickers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split", "text"])
        for number in range(count):
            path = f"images/{number:03d}.png"
            Image.new("RGB", (24, 24), (number, 0, 128)).save(root / path)
            text = f"words {number}" if texts and number % 2 else ""
            table.writerow([path, LABELS[number % 3], SPLITS[number // 2 % 3], text])
    card = root / "feelings.md"
    card.write_text(CARD, encoding="utf-8")
    return card


def config(card: Path, out: Path, **fields: Any) -> ZeroShotConfig:
    """A configuration for the corpus beside the card, with small shards and windows."""
    run = {"out": out, "shard_rows": 4, "window": 3, "decode_workers": 0, **fields.pop("run", {})}
    return ZeroShotConfig.model_validate(
        {"corpus": {"card": str(card), "data": card.parent}, "run": run, "name": "M", **fields}
    )


def preferences(number: int, *, with_text: bool = False) -> np.ndarray:
    """What the engine thinks of the classes for a sticker, as log-scores."""
    own = np.random.default_rng([number, with_text]).normal(size=3)
    return own + CLASS_BIAS


class Opinionated(AtOnce):
    """Answers by `preferences`, with a liking for the letter A; every fifth free reply names no label.

    Attributes:
        log: file descriptor that every request is noted in.
        last: number of the request on which the process ends, None for none.
    """

    log = -1
    last: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def reply(self, request: Request) -> Response:
        if len(self.requests) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.requests.append(request)
        if self.log >= 0:
            os.write(self.log, f"{request.key.sticker_id} {request.key.view}\n".encode())
        number = request.image.getpixel((0, 0))[0]
        scores = preferences(number, with_text=f"words {number}" in request.user)
        if request.choice:
            return Response(request.key, request.choice[int(scores.argmax())], "stop", 10, 2)
        if request.score:
            return Response(request.key, "A", "length", 20, 1, logprobs=self.letters(request, scores))
        text = (
            "What a sticker" if number % 5 == 0 else f"I see {LABELS[int(scores.argmin())].upper()}, not joy."
        )
        return Response(request.key, text, "stop", 30, 8)

    def letters(self, request: Request, scores: np.ndarray) -> dict[str, float]:
        options = re.findall(r"^[A-Z]\. (.*)$", request.user, re.M)
        values = np.array([scores[LABELS.index(option)] for option in options]) + LETTER_BIAS
        # Other tokens take half of the probability.
        normalised = values - math.log(np.exp(values).sum()) - math.log(2)
        return dict(zip(request.score, normalised.tolist(), strict=True))


def run(settings: ZeroShotConfig, engine: AtOnce) -> ZeroShotResult:
    """A run with an engine of the tests."""
    done = zero_shot(settings, start_engine=lambda: engine)
    assert isinstance(done, ZeroShotResult)
    return done


if __name__ == "__main__":
    ours = Opinionated()
    ours.log = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    ours.last = int(sys.argv[4]) if len(sys.argv) > 4 else None
    print(json.dumps(run(config(Path(sys.argv[1]), Path(sys.argv[2])), ours).stats["described_now"]))
