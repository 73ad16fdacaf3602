"""What the describe tests share: a small corpus, an engine whose answers are known, a child to be killed."""

import csv
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import verify_run
from mghft.pipeline.views import VIEWS

CARD = """---
pretty_name: Squares
mghft:
  adapter: table
  file: stickers.csv
  columns: {path: path, label: label, split: split}
  labels: [dark, bright]
---
"""


def make_corpus(root: Path, count: int, colours: Mapping[int, tuple[int, int, int]] = {}) -> Path:
    """`count` one-coloured stickers, every colour another unless it is given; returns the card."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    with (root / "stickers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "split"])
        for number in range(count):
            path = f"images/{number:04d}.png"
            if not (root / path).exists():
                colour = colours.get(number, (number % 256, number // 256 * 16, 128))
                Image.new("RGB", (24, 24), colour).save(root / path)
            table.writerow([path, "dark" if number % 2 else "bright", "test" if number % 5 == 0 else "train"])
    card = root / "squares.md"
    card.write_text(CARD, encoding="utf-8")
    return card


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of a run by sticker."""
    return {row["sticker_id"]: row for row in read_descriptions(out).to_pylist()}


def problems(out: Path, card: Path) -> list[str]:
    """What `mghft verify` finds."""
    return verify_run(out, load_corpus(load_card(card), card.parent))


def config(card: Path, out: Path, **fields: Any) -> DescribeConfig:
    """A describe configuration for the corpus beside the card, with small shards and windows."""
    return DescribeConfig(
        **{
            "card": str(card),
            "data": card.parent,
            "out": out,
            "shard_rows": 8,
            "window": 4,
            "decode_workers": 0,
            **fields,
        }
    )


class AtOnce(ABC):
    """An engine that answers all that waits when it is asked to; `reply` says what."""

    capacity = 4

    def __init__(self) -> None:
        self.waiting: list[Request] = []

    def submit(self, request: Request) -> None:
        self.waiting.append(request)

    def collect(self) -> list[Response]:
        taken, self.waiting = self.waiting, []
        return [self.reply(request) for request in taken]

    def close(self) -> None:
        self.waiting = []

    @abstractmethod
    def reply(self, request: Request) -> Response: ...


class KnownEngine(AtOnce):
    """Answers with the image's colour, so that a row that got another sticker's text shows."""

    def __init__(
        self,
        change: Callable[[Request, str], Response | str] | None = None,
        delay: float = 0.0,
        backwards: bool = True,
    ) -> None:
        super().__init__()
        self.change, self.delay, self.backwards, self.requests = change, delay, backwards, 0

    def collect(self) -> list[Response]:
        if self.backwards:
            # Whoever joins by position instead of by key gets it wrong.
            self.waiting.reverse()
        return super().collect()

    def reply(self, request: Request) -> Response:
        self.requests += 1
        time.sleep(self.delay)
        colour = "-".join(map(str, request.image.getpixel((0, 0))))
        keys = [view for view in VIEWS if view in request.schema["properties"]]
        text = json.dumps({key: f"{key} of {colour}" for key in keys})
        changed = self.change(request, text) if self.change else text
        if isinstance(changed, str):
            return Response(request.key, changed, "stop", prompt_tokens=7, output_tokens=9)
        return changed


def run(settings: DescribeConfig, engine: KnownEngine | None = None) -> dict[str, Any]:
    """A describe run with the known engine."""
    engine = engine or KnownEngine()
    return describe(settings, start_engine=lambda: engine)


if __name__ == "__main__":
    card_path, out_folder = Path(sys.argv[1]), Path(sys.argv[2])
    print("ready", flush=True)
    run(config(card_path, out_folder), KnownEngine(delay=0.004))
    print("finished", flush=True)
