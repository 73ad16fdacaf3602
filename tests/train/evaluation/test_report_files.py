"""Files of a report: each is whole or as it was before, whatever stops the writing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.predictions import prediction_schema, write_predictions
from mghft.train.data.splits import Split
from mghft.train.evaluation.prediction_table import prediction_tables
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.results import Evaluation, RunSummary
from mghft.train.evaluation.split_metrics import accuracy_gains, evaluate_split

LABELS = ("cold", "warm")
FILES = (
    "predictions.parquet",
    "report.json",
    "report.md",
    "comparison.png",
    "confusion.png",
    "curves.png",
    "index.html",
)
LINE = {
    "epoch": 1,
    "classification_loss": 1.0,
    "validation_loss": 1.0,
    "validation_accuracy": 0.5,
    "best": True,
}
Write = Callable[[float], None]


def split_of(count: int) -> Split:
    stickers = [
        Sticker(f"{n}.png", f"{n}.png", "test", label=n % 2, label_name=LABELS[n % 2]) for n in range(count)
    ]
    images: Any = [Image.new("RGB", (8, 8)) for _ in stickers]
    return Split(stickers, np.arange(count) % 2, images, None, None, None)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes all files of a report on predictions of the label "warm" with that probability."""

    def write(probability: float) -> None:
        split = split_of(7)
        systems = {
            "majority": np.tile([0.5, 0.5], (7, 1)),
            "MGHFT": np.tile([1 - probability, probability], (7, 1)),
        }
        summary = RunSummary(
            use_text=False,
            recipe="cpu",
            epochs=1,
            epochs_done=1,
            best_epoch=1,
            best_validation_accuracy=0.5,
            training_seconds=1.0,
        )
        bootstrap = {"seed": 0, "rounds": 100}
        evaluation = Evaluation(
            corpus="Squares",
            labels=list(LABELS),
            main="MGHFT",
            systems=list(systems),
            runs={"MGHFT": summary},
            text_only_strength=None,
            splits={"test": evaluate_split(split, systems, LABELS, **bootstrap)},
            annotators={},
            differences={"test": accuracy_gains(split, systems, "MGHFT", **bootstrap)},
        )
        by_split = {name: {"test": rows} for name, rows in systems.items()}
        write_predictions(
            tmp_path / "predictions.parquet",
            prediction_tables({"test": split}, by_split, LABELS, seeds={"MGHFT": 7}),
        )
        write_report(
            tmp_path,
            evaluation,
            split=split,
            probabilities=systems["MGHFT"],
            views=(),
            histories={"MGHFT": [LINE] if probability < 0.5 else [LINE, {**LINE, "epoch": 2}]},
            count=2,
            seed=0,
        )

    return write


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", FILES)
def test_file_that_cannot_be_written_is_as_before(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(0.2)
    before = content(tmp_path)
    assert sorted(before) == sorted(FILES)
    fsync = os.fsync

    def fail(handle: int) -> None:
        if name in Path(f"/proc/self/fd/{handle}").readlink().name:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write(0.8)
    after = content(tmp_path)
    assert sorted(after) == sorted(FILES)
    place = FILES.index(name)
    assert all(after[earlier] != before[earlier] for earlier in FILES[:place])
    assert all(after[later] == before[later] for later in FILES[place:])


def test_columns_of_the_predictions_have_their_types_without_any_subset(write: Write, tmp_path: Path) -> None:
    write(0.2)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.schema.equals(prediction_schema(LABELS))
    assert table.column("subset").to_pylist() == table.column("group").to_pylist() == [None] * 14
    assert table.column("label").to_pylist() == (["cold", "warm"] * 4)[:7] * 2
    assert table.column("seed").to_pylist() == [0] * 7 + [7] * 7
    assert (
        table.column("probabilities").to_pylist()
        == [{"cold": 0.5, "warm": 0.5}] * 7 + [{"cold": 0.8, "warm": 0.2}] * 7
    )
