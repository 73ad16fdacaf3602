"""The files of a run folder beside its checkpoints: whole or absent, each read as often as it is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from squares import World

from mghft.train.evaluation.plots import draw_training
from mghft.train.runs.files import read_metrics
from mghft.train.runs.folder import RunFolder
from mghft.train.runs.tracking import open_tracker
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(World(tmp_path_factory.mktemp("files")).config("run"))


def start_wandb(run: Path) -> None:
    with open_tracker("wandb", run / "tracker", {}, 0):
        pass


@pytest.mark.parametrize(
    ("name", "write", "error"),
    [
        ("metrics.jsonl", lambda run: RunFolder(run).keep_metrics(1), OSError),
        ("curves.png", lambda run: draw_training(run / "curves.png", read_metrics(run)), OSError),
        ("bad_batch.json", lambda run: RunFolder(run).write_bad_batch(3, {"loss": 1.0}, ["a"]), OSError),
        ("tracker/run_id", start_wandb, ValueError),
    ],
)
def test_file_that_does_not_reach_the_disk_is_as_before(
    finished: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Any, error: type[Exception]
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    file = finished / name
    before = file.read_bytes() if file.exists() else None
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(error, match="No space left"):
            write(finished)
    assert (file.read_bytes() if file.exists() else None) == before
    assert not [path for path in file.parent.iterdir() if path.name.endswith(".tmp")]


def test_metrics_beyond_the_checkpoint_are_dropped(finished: Path) -> None:
    run = RunFolder(finished)
    records = read_metrics(finished)
    assert [record["epoch"] for record in records] == [1, 2]
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 3, "lo')
    run.keep_metrics(1)
    assert [json.loads(line) for line in run.metrics_file.read_text().splitlines()] == records[:1]


def test_descriptions_are_read_once_for_all_splits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from mghft.train.data import descriptions

    calls: list[Path] = []
    original = descriptions.read_descriptions

    def counted(folder: Path) -> Any:
        calls.append(folder)
        return original(folder)

    monkeypatch.setattr(descriptions, "read_descriptions", counted)
    train(world.config("run", epochs=1, warmup_epochs=0))
    assert calls == [world.runs]


def test_card_of_a_run_without_text_names_no_encoder(world: World) -> None:
    """Its descriptions are where the images come from."""
    world.describe(embed=True)
    once: dict[str, Any] = {"images": "shards", "data": None, "epochs": 1, "warmup_epochs": 0}
    cards = [
        (train(world.config(name, **once, use_text=use_text)) / "best" / "README.md").read_text()
        for name, use_text in (("with", True), ("without", False))
    ]
    assert f"read by the text encoder {world.encoder}" in cards[0]
    assert "Trained by mghft without text" in cards[1] and "text encoder" not in cards[1]
