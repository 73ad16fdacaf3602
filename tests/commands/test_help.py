"""The help: at once there, and with an example everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mghft.cli import app

HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "pyarrow",
    "numpy",
    "pydantic",
    "yaml",
    "rich",
    "timm",
    "accelerate",
)


def _commands(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, inner in getattr(command, "commands", {}).items():
        found += _commands(inner, (*path, name))
    return found


COMMANDS = _commands(typer.main.get_command(app))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mghft.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "no-such-card", "--data", "x", "--out", "run", "--no-text"],
        ["train", "emoji", "--data", "nowhere", "--out", "run", "--no-text"],
        ["train", "emoji", "--data", ".", "--descriptions", "nowhere", "--out", "run"],
        ["eval", "nowhere", "--out", "report"],
    ],
    ids=" ".join,
)
def test_slip_in_a_name_is_answered_before_torch_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom mghft.cli import main\n"
        f"sys.argv = ['mghft', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 2, end.code\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stdout == "False\n"


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_of_itself_in_its_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    example = result.output.partition("Example")[2]
    assert f"  mghft {' '.join(path)}" in example


def test_every_command_of_the_project_is_there() -> None:
    wanted = "describe status failed verify preview export train eval doctor"
    wanted += " data,build data,check data,list data,show prompts,list prompts,show model,info"
    wanted += " data,split data,import data,import-mg data,duplicates data,stats convert"
    wanted += " prompts,check prompts,try prompts,history prompts,score"
    assert {",".join(path) for path in COMMANDS} >= set(wanted.split())


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(app, ["--version"]).output == f"mghft {version('mghft')}\n"
