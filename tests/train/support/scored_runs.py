"""Runs of descriptions whose worth is known, written without a model, and an encoder that counts words."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mghft.pipeline.runs.manifest import FILE, fingerprint
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.probing.described_runs import DescribedSticker

LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
CUES = (
    "shouting frowning steaming glaring",
    "gagging sneering queasy recoiling",
    "trembling hiding cowering sweating",
    "smiling laughing dancing hugging",
    "waiting standing looking nodding",
    "weeping drooping sobbing lonely",
    "gasping staring startled jumping",
)
CREATURES = ("cat", "dog", "bear", "rabbit", "duck", "ghost", "robot", "girl", "boy", "fox")
STYLES = ("flat cartoon", "soft watercolour", "bold outlines", "pixel art")
Row = dict[str, Any]


class BagOfWords:
    """An encoder: 64 counters of words."""

    width = 64

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: list[str], batch_size: int = 64) -> Tensor:
        self.encoded += len(texts)
        vectors = torch.zeros(len(texts), self.width)
        for vector, text in zip(vectors, texts, strict=True):
            for word in text.casefold().split():
                vector[zlib.crc32(word.strip(".,").encode()) % self.width] += 1
        return vectors

    def fingerprint(self) -> str:
        return "bag of words"


def described(per_class: int, *, seed: int = 0, truth: float = 0.6) -> list[Row]:
    """Rows whose intention and details hint at the label in `truth` of the cases, and else at any label."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(per_class * len(LABELS)):
        label = number % len(LABELS)
        creature, style = rng.choice(CREATURES), rng.choice(STYLES)
        cues = [rng.choice(CUES[_hint(rng, label, truth)].split(" ")) for _ in range(2)]
        path = f"stickers/{number:04d}.png"
        rows.append(
            {
                "sticker_id": path,
                "image_sha256": hashlib.sha256(path.encode()).hexdigest(),
                "path": path,
                "split": "train",
                "label": label,
                "label_name": LABELS[label],
                "content": f"A {creature}.",
                "style": f"Drawn in {style}.",
                "intention": f"Somebody wants to tell that they are {cues[0]}.",
                "details": f"The {creature} is {cues[1]}.",
                "status": "ok",
                "finish_reason": "stop",
                "prompt_tokens": 50,
                "output_tokens": 40,
            }
        )
    return rows


def _hint(rng: np.random.Generator, label: int, truth: float) -> int:
    return label if rng.random() < truth else int(rng.integers(len(LABELS)))


def with_answer(rows: Sequence[Row]) -> list[Row]:
    """The same, and two views name the label."""
    return [
        {
            **row,
            "intention": f"{row['intention']} The feeling is {row['label_name']}.",
            "details": f"{row['details']} Its mood: {row['label_name']}.",
        }
        for row in rows
    ]


def shuffled(rows: Sequence[Row], seed: int = 1) -> list[Row]:
    """The same texts on the wrong stickers."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [{**row, **{v: rows[other][v] for v in VIEWS}} for row, other in zip(rows, order, strict=True)]


def failed(rows: Sequence[Row]) -> list[Row]:
    """No text at all."""
    nothing = dict.fromkeys(VIEWS)
    return [{**row, **nothing, "status": "failed", "error": "no", "finish_reason": "length"} for row in rows]


def stickers_of(rows: Sequence[Row]) -> list[DescribedSticker]:
    """The same, as they are read from a run."""
    nothing = {"raw": None}
    return [DescribedSticker.from_row({**nothing, **row}) for row in rows]


def write_run(
    folder: Path, rows: Sequence[Row], *, language: str = "en", views: Sequence[str] = VIEWS
) -> Path:
    """A run folder as `mghft describe` leaves it."""
    folder.mkdir(parents=True)
    prompt = {"name": folder.name, "sha256": "0" * 64, "language": language}
    prompt["views"] = {view: "say it" if view in views else None for view in VIEWS}
    manifest = {
        "format": 1,
        "corpus": {"card": "drawn", "sha256": "0" * 64},
        "model": {"name": "nobody"},
        "prompt": prompt,
    }
    text = json.dumps({"fingerprint": fingerprint(manifest), **manifest})
    (folder / FILE).write_text(text, encoding="utf-8")
    write_shard(folder / "descriptions-00000.parquet", rows, "test")
    return folder
