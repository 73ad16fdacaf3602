"""The commands on prompts as a person calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from describe_bench import AtOnce
from typer.testing import CliRunner

from mghft.cli import app
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.trials import run as trial_run

Call = Callable[..., Any]


@pytest.fixture
def mghft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command in this process, in an empty folder: none of these needs an engine."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Any:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return SimpleNamespace(code=result.exit_code, out=result.stdout, err=result.stderr)

    return call


def test_list_says_what_every_pack_is_for(mghft: Call) -> None:
    lines = mghft("prompts", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "caption", "figure", "multiview", "multiview-zh", "per-view", "with-text",
    ]  # fmt: skip
    assert lines[3].endswith("joint     zh   multiview asked and answered in Chinese")


def test_check_names_every_problem_and_ends_with_one(mghft: Call, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nmode: loud\nuser: '{% if %}'\nviews: {}\n", encoding="utf-8")
    answer = mghft("prompts", "check", "figure", bad, "--card", "emoji")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert lines[0].startswith(
        "figure: sound (joint, en, asks for content, style, intention, details; sha256"
    )
    starts = [
        f"problem: the prompt pack {bad} is malformed at '{name}' (line "
        for name in ("mode", "user", "views")
    ]
    assert [line.partition("(line ")[0] + "(line " for line in lines[1:]] == starts


def test_check_of_the_shipped_packs_has_nothing_to_say(mghft: Call) -> None:
    answer = mghft("prompts", "check", "--card", "ser30k")
    assert answer.code == 0
    assert "note" not in answer.out and len(answer.out.splitlines()) == 6


def test_show_renders_for_a_text(mghft: Call) -> None:
    assert '"good night"' in mghft("prompts", "show", "with-text", "--text", "good night").out


class Echo(AtOnce):
    """Answers with the beginning of the prompt."""

    def reply(self, request: Request) -> Response:
        text = json.dumps(dict.fromkeys(request.schema["properties"], request.user[:20]))
        return Response(request.key, text, "stop", 10, 20)


@pytest.fixture
def tries(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one try of two packs on the squares."""
    monkeypatch.setattr(trial_run, "open_engine", lambda *_args, **_more: Echo())
    options = ["--data", squares, "--out", tmp_path / "tries", "--prompt", "multiview", "--prompt", "caption"]
    result = CliRunner().invoke(app, ["prompts", "try", "emoji", *map(str, options), "--per-class", "1"])
    assert result.exit_code == 0, result.output
    assert "2 stickers: 1 per class, seed 0\n" in result.stdout
    assert "multiview  2   0       20           40              2          0\n" in result.stdout
    return tmp_path / "tries"


def test_try_writes_page_and_summary_and_history_lists_it(mghft: Call, tries: Path) -> None:
    assert (tries / "try-001" / "index.html").is_file() and (tries / "try-001" / "summary.md").is_file()
    lines = mghft("prompts", "history", tries).out.splitlines()
    head = "trial date prompt model stickers ok failed read written accuracy F1 subset"
    assert lines[0].split() == head.split()
    assert [line.split()[3:11] for line in lines[1:]] == [
        [name, "interpreter", "2", "2", "0", "20", "40", "-"] for name in ("multiview", "caption")
    ]
    assert lines[1].endswith("1 per class, seed 0")


def test_describe_takes_the_rows_of_tries(mghft: Call, tries: Path, squares: Path) -> None:
    """All stickers of the choice were tried, so no engine starts."""
    options = ["--per-class", 1, "--reuse", tries, "--prompt", "caption"]
    answer = mghft("describe", "emoji", "--data", squares, "--out", "run", *options)
    assert answer.code == 0, answer.err
    assert "reused: 2\ndescribed now: 0\n" in answer.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prompts", "try", "emoji", "--data", ".", "--prompt", "multiview"], ["--out"]),
        (["prompts", "try", "emoji", "--out", "tries", "--prompt", "multiview"], ["data"]),
        (["prompts", "history", "nowhere"], ["nowhere", "no trial"]),
        (["prompts", "check", "haiku"], ["no prompt pack 'haiku'"]),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_slips_are_answered_in_a_sentence(mghft: Call, arguments: list[str], words: list[str]) -> None:
    answer = mghft(*arguments)
    assert answer.code == 2
    assert len(answer.err.strip().splitlines()) == 1 and answer.err.startswith("error: ")
    assert [word for word in words if word not in answer.err] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompt", "haiku"], ["no prompt pack 'haiku'"]),
        ([], ["no prompt to try", "--prompt"]),
        (["--prompt", "figure", "--where", "label=sad"], ["--where label=sad", "anger, fear"]),
        (["--prompt", "figure", "--where", "mood"], ["FIELD=VALUE"]),
        (["--prompt", "figure", "--per-class", 2, "--sample", 3], ["give one of them"]),
        (["--prompt", "figure", "--reuse", "nowhere"], ["nowhere", "does not exist"]),
    ],
    ids=str,
)
def test_slips_in_a_try(mghft: Call, squares: Path, options: list[object], words: list[str]) -> None:
    answer = mghft("prompts", "try", "emoji", "--data", squares, "--out", "tries", *options)
    assert answer.code == 2
    assert [word for word in words if word not in answer.err] == []
    assert "Traceback" not in answer.err
