"""A run made by `data import-mg`, whose prompt nobody knows, is a run to every command that reads one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from mghft.cli import app

Call = Callable[..., Any]
OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture
def mghft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command that must succeed, beside a corpus and the run `imported`."""
    for name in ("annotations", "data"):
        shutil.copytree(OLD_RUNS / name, tmp_path / name)
    shutil.copy(OLD_RUNS / "squares.md", tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, (result.stderr, result.exc_info)
        return SimpleNamespace(out=result.stdout, err=result.stderr)

    call("data", "import-mg", "annotations", "squares.md", "--data", "data", "--out", "imported")
    return call


def test_score_reads_all_views_and_knows_no_prompt(mghft: Call) -> None:
    answer = mghft("prompts", "score", "imported", "--cache-dir", "cache", "--out", "scores.md")
    assert answer.err.endswith("table: scores.md\nscore.json written into 1 run folder\n")
    score = json.loads(Path("imported/score.json").read_text(encoding="utf-8"))
    origin = [score[name] for name in ("prompt", "prompt_sha256", "language", "model")]
    assert origin == ["unknown (imported)", None, "en", "unknown (imported)"]
    views = ["content", "style", "intention", "details"]
    assert list(score["probe"]) == [*views, "all"] and list(score["counts"]["views"]) == views
    assert score["counts"]["finish_reasons"] == {"unknown": 18}
    assert score["counts"]["output_tokens"] is None
    assert "unknown 18" in answer.out and "unknown 18" in Path("scores.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("verify", "squares.md", "--data", "data"),
        ("failed",),
        ("preview", "--data", "data"),
        ("export", "--format", "jsonl"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_other_commands_read_it_too(mghft: Call, arguments: tuple[str, ...]) -> None:
    mghft(arguments[0], "imported", *arguments[1:])


def test_training_reads_it(mghft: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((OLD_RUNS / "trained" / "config.json").read_text(encoding="utf-8"))["config"]
    fields = {**config, "descriptions": "imported", "out": "run", "epochs": 1, "warmup_epochs": 0}
    shutil.copytree(OLD_RUNS / "encoder", "encoder")
    Path("run.json").write_text(json.dumps({**fields, "progress": False}), encoding="utf-8")
    mghft("train", "--config", "run.json")
    assert "unknown (imported)" in Path("run/best/README.md").read_text(encoding="utf-8")
