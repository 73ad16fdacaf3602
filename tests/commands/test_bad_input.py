"""Bad input is answered in one sentence, with exit code 2 and no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def refused(answer: Any, *words: str) -> None:
    """One line on stderr that begins with `error:`, all words in it, beside notes on the corpus; code 2."""
    assert answer.code == 2, answer
    lines = [line for line in answer.err.strip().splitlines() if not line.startswith("note: emoji: ")]
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("error: ")
    assert [word for word in words if word not in lines[0]] == []


@pytest.mark.parametrize("command", ["describe", "train", "data check"])
def test_data_folder_that_is_not_there(mghft: Call, command: str) -> None:
    more = {"describe": ["--out", "run"], "train": ["--out", "run", "--no-text"], "data check": []}[command]
    refused(
        mghft(*command.split(), "emoji", "--data", "nowhere", *more),
        "data folder",
        "nowhere",
        "does not exist",
    )


@pytest.mark.parametrize("command", ["describe", "train", "data check", "data show"])
def test_card_that_does_not_exist(mghft: Call, squares: Path, command: str) -> None:
    out = ["--out", "run", "--no-text"] if command == "train" else ["--out", "run"]
    data = [] if command == "data show" else ["--data", squares]
    more = out if command in ("describe", "train") else []
    refused(
        mghft(*command.split(), "no-such-card", *data, *more),
        "data card 'no-such-card' does not exist",
        "emoji",
    )


def test_empty_split(mghft: Call, squares: Path) -> None:
    answer = mghft("describe", "emoji", "--data", squares, "--out", "run", "--split", "test")
    refused(answer, "no sticker in the split 'test'", "train, validation")


def test_model_folder_without_weights(mghft: Call, squares: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    answer = mghft("describe", "emoji", "--data", squares, "--out", "run", "--model", model)
    refused(answer, str(model), "model.safetensors")
    assert not (tmp_path / "run").exists()


def test_run_of_another_configuration_refuses_describe(mghft: Call, squares: Path, described: Path) -> None:
    answer = mghft("describe", "emoji", "--data", squares, "--out", described, "--embed-images")
    refused(answer, str(described), "embed_images")


def test_run_of_another_configuration_refuses_train(mghft: Call, squares: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"identity": {"epochs": 3}}), encoding="utf-8")
    options = ["--recipe", "cpu", "--no-text", "--epochs", 5]
    answer = mghft("train", "emoji", "--data", squares, "--out", run, *options)
    refused(answer, "another configuration", "epochs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "emoji", "--data", ".", "--out", "r", "--no-text", "--set", "alpha"], ["KEY=VALUE"]),
        (["train", "emoji", "--data", ".", "--out", "r", "--no-text", "--set", "colour=3"], ["no field"]),
        (["train", "emoji", "--data", ".", "--out", "r"], ["descriptions"]),
        (["train", "emoji", "--recipe", "cake"], ["the recipe 'cake' does not exist", "cpu"]),
        (
            ["describe", "emoji", "--data", ".", "--out", "r", "--background", "red"],
            ["--background", "'red'"],
        ),
        (["describe", "emoji", "--data", ".", "--out", "r", "--attempts", "0"], ["attempts"]),
        (
            ["describe", "emoji", "--data", ".", "--out", "r", "--shard", "5/4"],
            ["--shard must", "5/4"],
        ),
        (["describe", "--config", "none.yaml"], ["none.yaml", "does not exist"]),
        (["status", "nowhere"], ["nowhere", "manifest.json"]),
        (["failed", "nowhere"], ["nowhere", "manifest.json"]),
        (["verify", "nowhere"], ["nowhere", "manifest.json"]),
        (["preview", "nowhere"], ["nowhere", "manifest.json"]),
        (["preview", "nowhere", "--limit", "0"], ["--limit", "at least 1"]),
        (["export", "nowhere", "--format", "csv"], ["nowhere", "manifest.json"]),
        (["export", "nowhere", "--format", "annotations-mg"], ["nowhere", "manifest.json"]),
        (["export", "nowhere", "--format", "xml"], ["--format", "'xml'", "annotations-mg"]),
        (["export", "nowhere", "--format", "csv", "--status", "good"], ["--status", "'good'"]),
        (["export", "nowhere", "--format", "csv", "--tokenizer", "t"], ["--tokenizer", "annotations-mg"]),
        (["export", "nowhere", "--format", "annotations-mg", "--status", "all"], ["--status", "failed"]),
        (["export", "nowhere", "--format", "annotations-mg", "--out", "-"], ["--out", "folder"]),
        (["verify", "nowhere", "emoji"], ["--data", "both"]),
        (["prompts", "show", "haiku"], ["no prompt pack 'haiku'", "multiview"]),
        (["data", "build", "ser30k", "--out", "r"], ["'ser30k' cannot be built"]),
        (["model", "info", "huge"], ["'huge'", "official"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_other_slips(mghft: Call, arguments: list[str], words: list[str]) -> None:
    refused(mghft(*arguments), *words)


def test_model_info_of_a_foreign_configuration(mghft: Call, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_size": 3}', encoding="utf-8")
    refused(mghft("model", "info", tmp_path), "not the configuration of an MGHFT model")


def test_eval_of_a_folder_that_is_no_run(mghft: Call, squares: Path) -> None:
    refused(mghft("eval", squares, "--out", "report"), "not a run folder")
