"""The command as a person calls it, and a corpus of a few coloured squares."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from describe_bench import AtOnce
from PIL import Image

from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.views import VIEWS


@dataclass(frozen=True)
class Outcome:
    """What a call of the command came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def mghft(tmp_path: Path) -> Call:
    """Calls the command in a process of its own, in an empty folder."""

    def call(*arguments: object) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "mghft", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Root of a corpus of the card `emoji` with four stickers and no test split."""
    root = tmp_path / "squares"
    root.mkdir()
    lines = ["path,label,split,part,emoji,hexcode,name,style"]
    for number, (label, split) in enumerate(
        [("anger", "train"), ("fear", "train"), ("anger", "validation"), ("fear", "validation")]
    ):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(root / f"{number}.png")
        lines.append(f"{number}.png,{label},{split},,,,,")
    (root / "stickers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


class FewWords(AtOnce):
    """Its answer to the first sticker is no JSON."""

    def reply(self, request: Request) -> Response:
        sticker = request.key.sticker_id
        views = json.dumps({view: f"{view} of {sticker}" for view in VIEWS})
        return Response(request.key, "no" if sticker == "0.png" else views, "stop", 10, 20)


@pytest.fixture
def described(squares: Path, tmp_path: Path) -> Path:
    """A finished run on the squares, one of four stickers failed."""
    config = DescribeConfig(card="emoji", data=squares, out=tmp_path / "described")
    describe(config, start_engine=FewWords)
    return config.run.out
