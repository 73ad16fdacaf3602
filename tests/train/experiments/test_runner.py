"""Experiments run by real processes: killed and gone on with, two at once, with a faulty cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from squares import LABELS, World

from mghft.pipeline.predictions import prediction_table, read_predictions, write_predictions
from mghft.train.experiments.cells import plan_cells
from mghft.train.experiments.experiment import load_experiment
from mghft.train.experiments.formats import render
from mghft.train.experiments.table import experiment_table

# Some thirty starts of the command, each of seconds: a busy machine needs minutes for them.
pytestmark = pytest.mark.timeout(900)


def write_experiment(world: World, **changes: Any) -> Path:
    fields = world.fields("unused")
    for name in ("card", "data", "descriptions", "out", "cache_dir", "progress"):
        del fields[name]
    fields["pvt_weights"] = None
    experiment = {
        "title": "Squares & colours",
        "cards": [str(world.card)],
        "data": str(world.data),
        "descriptions": str(world.runs),
        "seeds": [1, 2],
        "train": fields,
        "systems": {
            "with text": {"train": {}},
            "without": {"train": {"use_text": False}},
            "late": {"eval": ["with text", "without"], "system": "late fusion, mean"},
        },
        "against": "with text",
        "published": {
            "source": "a paper, table 1",
            "rows": {"without": {"accuracy": 71.63}, "GPT": {"f1_macro": 60.22}},
        },
    }
    path = world.folder / "squares.yaml"
    path.write_text(yaml.safe_dump({**experiment, **changes}, sort_keys=False))
    return path


def command(path: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "mghft", "experiment", *words, str(path), "--out", str(path.parent / "out")]


def ended(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(path, *words), capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """An experiment that was killed in its first training, then run by two processes at once."""
    world = World(tmp_path_factory.mktemp("experiment"))
    path = write_experiment(world)
    first = subprocess.Popen(command(path, "run"), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 90
    cells = plan_cells(load_experiment(str(path), {}), world.folder / "out")
    while not (cells[0].run / "config.json").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert cells[0].state() == "running"
    # The runner alone: its training lives on, and keeps the cell taken.
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    both = [subprocess.Popen(command(path, "run"), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=500)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    started = [line for output in outputs for line in output.splitlines() if line.endswith(": started")]
    # Every cell was run by one of the two.
    assert len(started) == len(set(started)) == 6
    return world, path


def test_every_cell_holds_its_own_predictions(finished: tuple[World, Path]) -> None:
    world, path = finished
    cells = plan_cells(load_experiment(str(path), {}), world.folder / "out")
    for cell in cells:
        parts = read_predictions(cell.predictions)
        assert {(one.system, one.seed) for one in parts} == {(cell.name, cell.seed)}
        assert {one.split: len(one.ids) for one in parts} == {"validation": 9, "test": 12}
        record = json.loads((cell.folder / "cell.json").read_text())
        assert record["memory_mb"] > 50
        assert set(record["seconds"]) == ({"eval"} if cell.needs else {"train", "eval"})
    text, plain, late = (
        next(p for p in read_predictions(c.predictions) if p.split == "test") for c in cells[:3]
    )
    assert not np.allclose(text.probabilities, plain.probabilities)
    assert late.ids == text.ids


def test_status_and_second_run_find_everything_done(finished: tuple[World, Path]) -> None:
    _, path = finished
    status = ended(path, "status")
    assert "6 of 6 cells are done" in status.stdout
    again = ended(path, "run")
    assert again.returncode == 0 and "started" not in again.stdout


def test_table_has_ours_and_theirs_in_every_format(finished: tuple[World, Path]) -> None:
    world, path = finished
    tables = experiment_table(load_experiment(str(path), {}), world.folder / "out")
    assert [table.subset for table in tables] == ["all", "seen", "unseen"]
    rows = {row.name: row for row in tables[0].rows}
    assert list(rows) == ["with text", "without", "late", "GPT"]
    ours = rows["without"].ours
    assert ours is not None and ours.seeds == [1, 2] and rows["GPT"].ours is None
    assert rows["with text"].pair is None and rows["late"].pair is not None
    assert rows["without"].train_minutes is not None and rows["late"].train_minutes is None
    markdown = render(tables, "markdown")
    line = next(line for line in markdown.splitlines() if line.startswith("| without |"))
    accuracy = 100 * ours.accuracy.mean
    assert f"| 2 | {accuracy:.1f} ± " in line and line.endswith("| 71.63 | – |")
    assert "published: a paper, table 1" in markdown
    latex = render(tables, "latex")
    assert r"\toprule" in latex and r"Squares \& colours" in latex and r"$\pm$" in latex
    assert latex.count(r"\begin{tabular}") == 3
    header, first = render(tables, "csv").splitlines()[:2]
    assert (
        header.startswith("corpus,split,subset,stickers,system,seeds")
        and ",test,all,12,with text,2," in first
    )
    assert "<td>71.63</td>" in render(tables, "html")


def test_faulty_cell_leaves_the_others_and_is_tried_again(world: World) -> None:
    theirs = world.folder / "theirs.parquet"
    path = write_experiment(
        world,
        seeds=[1],
        systems={
            "broken": {"train": {"use_text": False, "lr": -1}},
            "on broken": {"eval": ["broken"], "system": "majority"},
            "foreign": {"predictions": str(theirs), "system": "CLIP"},
            "majority": {"eval": ["plain"], "system": "majority"},
            "plain": {"train": {"use_text": False}},
        },
        against=None,
    )
    done = ended(path, "run")
    assert done.returncode == 1
    assert "3 cells failed, the others are done" in done.stderr
    assert "broken, seed 1" in done.stdout and "lr" in done.stdout
    assert f"there is no predictions file {theirs}" in done.stdout
    status = json.loads(ended(path, "status", "--json").stdout)
    states = {row["cell"].split(",")[0]: row["state"] for row in status}
    assert states["plain"] == states["majority"] == "done" and states["broken"] == "failed"
    ids = [row["path"] for row in world.rows if row["split"] == "test"]
    true = [row["label"] for row in world.rows if row["split"] == "test"]
    probabilities = np.tile([0.2, 0.3, 0.5], (12, 1))
    write_predictions(
        theirs,
        prediction_table(
            system="CLIP",
            seed=9,
            split="test",
            ids=ids,
            true=true,
            probabilities=probabilities,
            labels=LABELS,
        ),
    )
    text = ended(path, "table").stdout
    assert "| foreign | 1 | 33.3 |" in text and "3 of 5 cells have a result" in text


def test_rows_of_one_command_come_from_one_shared_folder(world: World) -> None:
    words = ["probe", "--card", "{card}", "--data", "{data}", "--descriptions", "{descriptions}"]
    words += ["--text-encoder", str(world.encoder), "--cache-dir", "{cache}", "--out", "{shared}/texts"]
    row = {"command": words, "folder": "{shared}/texts", "seeds": [0]}
    path = write_experiment(
        world,
        systems={
            "all": {**row, "system": "text alone: all views"},
            "style": {**row, "system": "text alone: style"},
            "nothing": {**row, "system": "text alone: nothing"},
        },
        against="all",
        published=None,
    )
    done = ended(path, "run")
    assert done.returncode == 1 and "has no system 'text alone: nothing'" in done.stdout
    rows = {
        row.name: row for row in experiment_table(load_experiment(str(path), {}), path.parent / "out")[0].rows
    }
    assert rows["all"].ours is not None and rows["style"].ours is not None and rows["nothing"].ours is None
    assert (path.parent / "out" / "shared" / "texts" / "predictions.parquet").is_file()
