"""What the commands print and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mghft import cli
from mghft.commands import doctor
from mghft.model import MGHFTConfig, count_parameters
from mghft.options import parse_colour
from mghft.pipeline.settings import parse_assignments

Call = Callable[..., Any]


def _command_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.callback()
    def _root() -> None: ...

    @app.command()
    def work() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("two\nlines"), 2, "error: two lines"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 2, "error: x.csv: No such file"),
        (PermissionError(13, "Permission denied", "run"), 2, "error: run: Permission denied"),
        (FloatingPointError("the loss is nan"), 1, "error: the loss is nan"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
)
def test_errors_become_a_sentence_and_a_code(error: BaseException, code: int, text: str) -> None:
    result = CliRunner().invoke(_command_that_raises(error), ["work"])
    assert result.exit_code == code
    assert text in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_bug_keeps_its_traceback() -> None:
    result = CliRunner().invoke(_command_that_raises(KeyError("slip")), ["work"])
    assert isinstance(result.exception, KeyError)


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGHFT_TRACEBACK", "1")
    result = CliRunner().invoke(_command_that_raises(ValueError("where")), ["work"])
    assert isinstance(result.exception, ValueError)


def test_finished_run_is_left_as_it_is_without_an_engine(mghft: Call, squares: Path, described: Path) -> None:
    before = {path.name: path.read_bytes() for path in described.glob("descriptions-*.parquet")}
    answer = mghft("describe", "emoji", "--data", squares, "--out", described)
    assert answer.code == 0, answer.err
    assert "described now: 0" in answer.out
    assert {path.name: path.read_bytes() for path in described.glob("descriptions-*.parquet")} == before


def test_status_failed_and_verify_of_a_run(mghft: Call, squares: Path, described: Path) -> None:
    assert "ok: 3\nfailed: 1\n" in mghft("status", described).out
    assert mghft("failed", described).out.startswith("0.png  the answer is no valid JSON")
    assert mghft("verify", described, "emoji", "--data", squares).out == f"{described} is whole\n"


def test_verify_names_what_is_missing(mghft: Call, squares: Path, described: Path) -> None:
    with (squares / "stickers.csv").open("a", encoding="utf-8") as table:
        table.write("new.png,anger,train,,,,,\n")
    answer = mghft("verify", described, "emoji", "--data", squares)
    assert answer.code == 1
    assert "new.png" in answer.out


def test_verify_names_pictures_that_are_not_those_described(
    mghft: Call, squares: Path, described: Path
) -> None:
    first, second = squares / "1.png", squares / "2.png"
    first.write_bytes(second.read_bytes())
    second.unlink()
    answer = mghft("verify", described, "emoji", "--data", squares)
    assert answer.code == 1
    assert "the pictures of 1 sticker are not those that were described: 1.png" in answer.out
    assert (
        "the pictures of 1 described sticker cannot be read any more: 2.png (the file is missing)"
        in answer.out
    )
    assert mghft("verify", described, "emoji", "--data", squares, "--fast").out == f"{described} is whole\n"


def test_data_check_names_wrong_counts_and_ends_with_one(mghft: Call, squares: Path) -> None:
    answer = mghft("data", "check", "emoji", "--data", squares)
    assert answer.code == 1
    assert "train: 2 stickers (anger 1, disgust 0, fear 1" in answer.out
    assert "problem: " in answer.out


def test_lists_name_what_is_shipped(mghft: Call) -> None:
    assert "emoji" in mghft("data", "list").out
    assert "multiview" in mghft("prompts", "list").out


def test_prompt_is_shown_as_a_model_gets_it(mghft: Call) -> None:
    shown = mghft("prompts", "show", "multiview").out
    assert "keys are content, style, intention, details" in shown
    assert "{{" not in shown


def test_every_field_of_training_can_be_listed(mghft: Call) -> None:
    assert "batch_size: per process (default 16)" in mghft("train", "--fields").out


def test_model_info_counts_a_preset_and_a_saved_configuration(mghft: Call, tmp_path: Path) -> None:
    config = {"model_type": "mghft", **MGHFTConfig.preset("tiny").model_dump(mode="json")}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    saved = mghft("model", "info", tmp_path)
    assert saved.code == 0, saved.err
    assert saved.out == mghft("model", "info", "tiny").out
    assert f"{count_parameters(MGHFTConfig.preset('tiny'))['total']:,}" in saved.out


def test_settings_are_read_as_yaml() -> None:
    assert parse_assignments(["model.alpha=4", "lr=0.5", "auto=null"]) == {
        "model.alpha": 4,
        "lr": 0.5,
        "auto": None,
    }


def test_colour_is_three_bytes() -> None:
    assert parse_colour("255, 0,7") == (255, 0, 7)


@pytest.mark.parametrize("text", ["1,2", "1,2,3,4", "1,2,256", "a,b,c", "1,2,-3"])
def test_other_colours_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--background"):
        parse_colour(text)


@pytest.mark.parametrize(
    ("code", "fine", "text"),
    [
        ("print('3.1 works')", True, "3.1 works"),
        ("import no_such_package", False, "no_such_package"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", False, "crashed with signal 11"),
    ],
)
def test_doctor_reports_a_probe(code: str, fine: bool, text: str) -> None:
    finding = doctor.probe("probe", code, "repair it")
    assert finding.fine is fine
    assert text in finding.text


def test_doctor_gives_up_on_a_hanging_probe() -> None:
    finding = doctor.probe("probe", "import time; time.sleep(60)", "repair it", seconds=0.5)
    assert not finding.fine
    assert "did not answer" in finding.text


def test_doctor_says_what_to_do_and_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = doctor.Finding("torch", False, "missing", "install it")
    monkeypatch.setattr(doctor, "findings", lambda: [bad])
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "PROBLEM  torch: missing\n" in result.output
    assert "         what to do: install it\n1 problem\n" in result.output


def test_doctor_looks_at_every_package_that_mghft_declares() -> None:
    names = {finding.name for finding in doctor.packages()}
    assert {"torch", "torchvision", "timm", "typer", "pyarrow"} <= names
