"""What a person reads: help in sections, typed choices, slips in the words of options, quiet commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
from describe_bench import KnownEngine
from PIL import Image
from typer.testing import CliRunner

from mghft.cli import app
from mghft.pipeline import waiting
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.run import describe
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.settings import fault_words


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(path, command)]
    return [leaf for name, one in inner.items() for leaf in leaves(one, (*path, name))]


LEAVES = leaves(typer.main.get_command(app))


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_command_can_be_quiet_and_many_options_stand_in_sections(
    path: tuple[str, ...], command: Any
) -> None:
    text = call(*path, "--help").stdout
    assert "-q, --quiet" in text
    options = [one for one in command.params if one.param_type_name == "option"]
    titles = re.findall(r"^([A-Z][\w ]+):$", text, re.MULTILINE)
    sections = [title for title in titles if title not in ("Examples", "Example", "Arguments")]
    assert (len(sections) > 1) == (len(options) > 12), (len(options), titles)


def test_options_with_few_values_are_typed() -> None:
    """A help that lists values belongs to a type that knows them; `--format` and its kind are never free."""
    for path, command in LEAVES:
        for one in command.params:
            if one.name in ("form", "format", "network", "engine", "images", "tracker", "only", "status"):
                kinds = [one.type_descriptor.annotation, *get_args(one.type_descriptor.annotation)]
                assert any(get_origin(kind) is Literal for kind in kinds), (path, one.name, kinds)


S = ["--data", ".", "--out", "x"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["describe", "emojii", *S], "'emojii' does not exist (did you mean emoji?)"),
        (["describe", "emoji", *S, "--sample", "0"], "--sample must be at least 1, not 0"),
        (["describe", "emoji", *S, "--set", "run.windw=3"], "did you mean window?"),
        (["prompts", "show", "multivew"], "did you mean multiview"),
        (["train", "emoji", *S, "--no-text", "--epochs", "0"], "--epochs must be at least 1"),
        (["train", "emoji", *S, "--no-text", "--recipe", "cpuu"], "did you mean cpu?"),
        (["train", "emoji", *S, "--no-text", "--set", "lr=fast"], "lr: must be a number, not 'fast'"),
        (["describe", "emoji", "--data", "."], "error: --out must be given"),
        (["train", "emoji", "--data", ".", "--no-text"], "error: --out must be given"),
        (["experiment", "run", "emojy"], "did you mean emoji?"),
        (["describe", ".", "--out", "x"], "`root describe folder --data .`"),
        (["data", "check", "."], "folder --data .`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_slips_are_named_and_the_way_out_too(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert "Input should be" not in result.stderr and "Field required" not in result.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "emoji", "--lr", "fast"], "--lr: give a number"),
        (["train", "emoji", "--epochs", "1.5"], "--epochs: give a whole number"),
        (
            ["describe", "emoji", "--engine", "vlm"],
            "(did you mean vllm?): choose one of vllm, openai",
        ),
    ],
)
def test_values_of_the_wrong_kind(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert result.exit_code == 2 and sentence in result.stderr
    assert "Input should" not in result.stderr and "Value error" not in result.stderr


def test_run_folder_next_to_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "runs" / "text").mkdir(parents=True)
    result = call("eval", tmp_path / "runs" / "txt", "--out", tmp_path / "report")
    assert f"did you mean {tmp_path / 'runs' / 'text'}?" in result.stderr


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"type": "missing", "msg": "Field required"}, "must be given"),
        ({"type": "bool_parsing", "msg": "", "input": "maybe"}, "must be true or false, not 'maybe'"),
        ({"type": "list_type", "msg": "", "input": 3}, "must be a list, not 3"),
        ({"type": "model_type", "msg": "", "input": "x" * 99}, "must be a mapping, not '" + "x" * 39 + "…"),
        ({"type": "less_than", "msg": "", "ctx": {"lt": 1.0}, "input": 2}, "must be less than 1.0, not 2"),
        ({"type": "value_error", "msg": "Value error, it is odd"}, "it is odd"),
        ({"type": "url_parsing", "msg": "Input should be a valid URL"}, "must be a valid URL"),
    ],
)
def test_faults_are_said_as_a_person_would(fault: dict[str, Any], words: str) -> None:
    assert fault_words(fault) == words


def test_quiet_command_says_its_result_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting._state, "quiet", False)
    result = call("data", "list", "--quiet")
    assert result.exit_code == 0 and "emoji" in result.stdout and waiting.is_quiet()


def test_stand_in_says_what_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], squares: Path
) -> None:
    folder = tmp_path / "memes"
    for number in range(12):
        (folder / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / "ab"[number % 2] / f"{number}.png")
    for card, data, warned in (("folder", folder, True), ("emoji", squares, False)):
        config = DescribeConfig(card=card, data=data, out=tmp_path / f"{card}-run")  # type: ignore[call-arg]
        stats: Any = describe(config, start_engine=KnownEngine)
        assert "tiny-llava is the shipped stand-in: it knows emoji only" in capsys.readouterr().err
        warnings = run_status(tmp_path / f"{card}-run")["warnings"]
        assert any("knows emoji only" in warning for warning in stats["warnings"]) == warned
        assert any(f"for {stats['ok']} stickers" in warning for warning in warnings) == warned
        assert ("knows emoji only" in (tmp_path / f"{card}-run" / "README.md").read_text()) == warned
