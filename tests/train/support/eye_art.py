"""A few drawings without a network: emoji, icons, and a table whose labels can't be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mghft.model import MGHFTConfig
from mghft.pipeline.corpora.emoji import art
from mghft.pipeline.corpora.emoji.render import IconSet
from mghft.train.eye.pretrain import Options, Pretraining

# hexcode, label, group, shortcodes
ROWS = [
    ("1F600", "grinning face", 0, ["grinning"]),
    ("1F621", "enraged face", 0, ["pout", "rage"]),
    ("1F449", "backhand index pointing right", 1, ["point_right"]),
    ("1F34E", "red apple", 4, ["apple"]),
    ("1F34F", "green apple", 4, ["apple", "apple2"]),
    ("1F44D", "thumbs up", 1, ["+1"]),
    ("0031", "keycap 1", 8, ["1"]),
    ("1F3FB", "light skin tone", 2, ["tone1"]),
    ("1F1E9", "flag: Germany", 9, ["flag_de"]),
]
LABELS = {"label", "label_source", "emotag", "holdout", "fold"}


class Unlabelled:
    """An emoji of the corpus' table of which only hexcode, name and icons may be read."""

    def __init__(self, hexcode: str, name: str, icons: dict[str, str]) -> None:
        self.hexcode, self.name, self.icons = hexcode, name, icons

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the corpus' table was read")


TABLE = (Unlabelled("1F600", "grinning face", {"one": "smile", "two": "smile"}),)
NAMES = ["smile", "grinning-face", "rage", "point-right", "red-apple", "apple2", "1", "tone1", "flag-de"]


def icons(style: str, cache: Path | None = None) -> IconSet:
    drawn = {
        name: {
            "body": f'<circle cx="8" cy="8" r="{3 + i % 5}" fill="rgb({40 * i % 256},{90 * i % 256},60)"/>'
        }
        for i, name in enumerate(NAMES)
    }
    return IconSet(style, {**drawn, "green-apple": {"body": ""}}, {}, 16, 16)


def read_json(_package: Any, member: str, _cache: Path | None = None) -> Any:
    if member == "en/data.json":
        rows = [{"hexcode": c, "label": label, "group": g, "tags": [label[:3]]} for c, label, g, _ in ROWS]
        return [*rows, {"hexcode": "1F1E6", "label": "regional indicator A"}]
    return {code: codes if len(codes) > 1 else codes[0] for code, _, _, codes in ROWS}


def offline(patch: Callable[[Any, str, Any], None]) -> None:
    """Puts the art above in place of the packages."""
    patch(art, "read_json", read_json)
    patch(art, "load_icons", icons)
    patch(art, "load_table", lambda: TABLE)


def pretraining(**options: Any) -> Pretraining:
    """A run of the tiniest network; call `offline` before."""
    drawings = art.load_art(("one", "two"))
    words = torch.nn.functional.normalize(
        torch.randn(len(drawings.words), 16, generator=torch.Generator().manual_seed(3)), dim=1
    )
    config = MGHFTConfig.preset("tiny", image_size=32, use_text=False, num_classes=1)
    return Pretraining(drawings, words, config, Options(**{"steps": 7, "batch": 4, **options}))
