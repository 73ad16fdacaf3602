"""A corpus of coloured squares with descriptions, a random BERT of a few kilobytes and the tiniest MGHFT."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizer

from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.config import TrainConfig, build_config

LABELS = ("cold", "warm", "green")
COLOURS = {"cold": (40, 60, 220), "warm": (220, 70, 40), "green": (50, 200, 60)}
COUNTS = {"train": 24, "validation": 9, "test": 12}
CARD = """---
pretty_name: Coloured squares
mghft:
  adapter: table
  file: stickers.csv
  columns: {path: path, label: label, split: split, part: part}
  labels: [cold, warm, green]
---
Squares.
"""


class World:
    """Folders of one synthetic corpus and how to make a configuration for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card, self.data, self.runs = folder / "squares.md", folder / "data", folder / "described"
        self.encoder = folder / "encoder"
        self.rows = self._write_corpus()
        self.describe()
        self._write_encoder()

    def _write_corpus(self) -> list[dict[str, str]]:
        self.card.write_text(CARD, encoding="utf-8")
        rng = np.random.default_rng(0)
        rows = []
        for split, count in COUNTS.items():
            for number in range(count):
                label = LABELS[number % 3]
                path = f"{split}/{number:02d}.png"
                pixels = rng.normal(COLOURS[label], 30, size=(40, 36 + number % 5, 3)).clip(0, 255)
                (self.data / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(self.data / path)
                part = ("seen", "unseen")[number % 2] if split == "test" else ""
                rows.append({"path": path, "label": label, "split": split, "part": part})
        self.write_table(rows)
        return rows

    def write_table(self, rows: list[dict[str, str]]) -> None:
        with (self.data / "stickers.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, ["path", "label", "split", "part"])
            writer.writeheader()
            writer.writerows(rows)

    def describe(
        self,
        *,
        failed: frozenset[str] = frozenset(),
        absent: frozenset[str] = frozenset(),
        embed: bool = False,
    ) -> None:
        """Writes the shards, in another order than the corpus has; two of them with embedded images."""
        self.runs.mkdir(exist_ok=True)
        described: list[dict[str, Any]] = [
            {
                "sticker_id": row["path"],
                "path": row["path"],
                "split": row["split"],
                "status": "failed" if row["path"] in failed else "ok",
                "finish_reason": "stop",
                **{view: None if row["path"] in failed else f"{view} is {row['label']}" for view in VIEWS},
            }
            for row in reversed(self.rows)
            if row["path"] not in absent
        ]
        if not embed:
            write_shard(self.runs / "descriptions-00000.parquet", described, "test")
            return
        labels = {row["path"]: row["label"] for row in self.rows}
        for row in described:
            content = (self.data / row["path"]).read_bytes()
            row["image"] = {"bytes": content, "path": row["path"]}
            row["image_sha256"] = hashlib.sha256(content).hexdigest()
            row["label_name"] = labels[row["path"]]
            row["label"] = LABELS.index(row["label_name"])
        for number, part in enumerate((described[:20], described[20:])):
            write_shard(self.runs / f"descriptions-0000{number}.parquet", part, "test", images=True)

    def _write_encoder(self) -> None:
        torch.manual_seed(0)
        self.encoder.mkdir()
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "is", *LABELS, *VIEWS]
        vocabulary = self.encoder / "vocab.txt"
        vocabulary.write_text("\n".join(words), encoding="utf-8")
        BertTokenizer(str(vocabulary)).save_pretrained(self.encoder)
        sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
        BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(self.encoder)

    def fields(self, out: str, **changes: Any) -> dict[str, Any]:
        fields = {
            "card": str(self.card),
            "data": self.data,
            "descriptions": self.runs,
            "out": self.folder / out,
            "model": {
                "preset": "tiny",
                "image_size": 32,
                "embed_dims": [8, 16, 40, 64],
                "depths": [1, 1, 1, 1],
            },
            "text_encoder": str(self.encoder),
            "epochs": 2,
            "warmup_epochs": 1,
            "batch_size": 6,
            "lr": 2e-3,
            "workers": 0,
            "num_threads": 1,
            "cache_dir": self.folder / "cache",
            "progress": False,
            "mixed_precision": "no",
        }
        return {**fields, **changes}

    def config(self, out: str, **changes: Any) -> TrainConfig:
        return build_config(self.fields(out, **changes))


def metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without what the clock decides."""
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    clock = {"stickers_per_second", "seconds", "seconds_waiting", "seconds_validation", "memory_mb"}
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]
