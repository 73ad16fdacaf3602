"""Options of describe and prompts try: each defined once, each fills a field that exists."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mghft import options
from mghft.commands import describe as describe_module
from mghft.pipeline.describe import run as describe_run
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.runs.worker import Worker

Call = Callable[..., Any]
GROUPS = [value for value in vars(options).values() if isinstance(value, tuple) and value]
OPTIONS = [option for group in GROUPS for option in group if isinstance(option, options.Option)]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_field_of_an_option_exists(option: options.Option) -> None:
    model: Any = DescribeConfig
    for step in (option.field or "").split(".") if option.field else []:
        assert step in model.model_fields
        model = model.model_fields[step].annotation


def test_no_parameter_is_defined_twice() -> None:
    names = [option.name for option in OPTIONS]
    assert len(names) == len(set(names)) > 30


def called(*arguments: str, groups: tuple[options.Group, ...]) -> dict[str, Any]:
    """What a command with some groups of options is called with."""
    seen: dict[str, Any] = {}
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @options.with_options(*groups)
    def command(fields: Mapping[str, Any], **own: Any) -> None:
        seen.update(fields=fields, own=own)

    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return seen


def test_a_command_gets_what_was_given_and_nothing_else() -> None:
    groups = (options.CORPUS, options.SELECTION, options.KEEPING, options.SETTINGS)
    seen = called("emoji", "--where", "label=a", "--where", "split=b", "--seed", "0", groups=groups)
    assert seen["fields"] == {
        "corpus.card": "emoji",
        "selection.where": ["label=a", "split=b"],
        "selection.seed": 0,
    }
    assert seen["own"] == {"config": None, "settings": None}
    assert called("--strict", groups=groups)["fields"] == {"run.strict": True}


def test_a_value_is_parsed_for_its_field() -> None:
    assert called("--background", "1,2,3", groups=(options.IMAGE,))["fields"] == {
        "image.background": (1, 2, 3)
    }


@pytest.mark.parametrize("name", ["--worker", "--shard"])
def test_the_share_of_the_work_has_two_names(name: str) -> None:
    assert called(name, "1/4", groups=(options.WORKER,))["fields"] == {"run.worker": "1/4"}


def test_help_can_be_worded_for_a_command() -> None:
    group = options.reworded(options.OUT, out="Another text.")
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @options.with_options(group)
    def command(fields: Mapping[str, Any]) -> None: ...

    assert "Another text." in CliRunner().invoke(app, ["--help"]).output
    assert "Another text." not in str(inspect.signature(describe_module.describe))


def resolved(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> DescribeConfig:
    """The configuration that the command describe makes of its arguments."""
    seen: list[DescribeConfig] = []

    def run(config: DescribeConfig) -> dict[str, Any]:
        seen.append(config)
        return {"rows": 0, "ok": 0, "failed": 0, "failures": {}}

    monkeypatch.setattr(describe_run, "describe", run)
    from mghft.cli import app

    result = CliRunner().invoke(app, ["describe", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return seen[0]


def test_file_then_options_then_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short and long names of fields meet: the later layer wins."""
    (tmp_path / "describe.yaml").write_text(
        "{card: emoji, data: data, out: run, limit: 1, window: 9, vllm: {max_num_seqs: 4}, part: 1/3}",
        encoding="utf-8",
    )
    config = resolved(
        monkeypatch,
        *("--config", tmp_path / "describe.yaml", "--limit", 2, "--worker", "2/3", "--dtype", "float32"),
        *("--set", "limit=3", "--set", "run.window=8"),
        *("--set", "vllm.kv_cache_gib=2", "--set", "image.max_side=null"),
    )
    assert config.selection.limit == 3
    assert (config.run.window, config.run.worker) == (8, Worker(2, 3))
    vllm = config.engine.vllm
    assert (vllm.max_num_seqs, vllm.dtype, vllm.kv_cache_gib) == (4, "float32", 2)
    assert config.image.max_side is None


@pytest.mark.parametrize("command", [["describe"], ["prompts", "try", "--prompt", "figure"]])
@pytest.mark.parametrize(
    ("entry", "words"),
    [("limit", "KEY=VALUE"), ("colour=3", "no field 'colour'"), ("limit=0", "must be at least 1")],
)
def test_a_slip_in_set_is_answered_in_a_sentence(
    mghft: Call, squares: Path, command: list[str], entry: str, words: str
) -> None:
    answer = mghft(*command, "emoji", "--data", squares, "--out", "run", "--set", entry)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ") and words in answer.err
