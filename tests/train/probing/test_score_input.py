"""Errors of `prompts score`, one sentence each, and how it finds and groups what it scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_runs import described, stickers_of, write_run
from typer.testing import CliRunner

from mghft.cli import app
from mghft.train.probing.described_runs import find_runs
from mghft.train.probing.probe import REPEATS, assign_folds, group_stickers, linear_probe, nearest_neighbours

Change = Callable[[dict[str, Any]], dict[str, Any]]


def fails_with(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["prompts", "score", *map(str, arguments)])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    return done.stderr.removeprefix("error: ").rstrip()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    said = fails_with(tmp_path / "no")
    assert said == f"the run {tmp_path / 'no'} does not exist: give the folder of a run, or one of a trial"


def test_a_folder_without_runs(tmp_path: Path) -> None:
    said = fails_with(tmp_path)
    assert said == f"the folder {tmp_path} holds no describe run with rows: describe some stickers first"


def test_a_folder_of_several_trials_names_the_last(tmp_path: Path) -> None:
    for name in ("try-001", "try-002"):
        write_run(tmp_path / name / "pack", described(1))
    said = fails_with(tmp_path)
    assert said == f"the folder {tmp_path} holds several trials: score one, as in {tmp_path / 'try-002'}"


def test_runs_of_different_stickers(tmp_path: Path) -> None:
    rows = described(2)
    one, two = write_run(tmp_path / "one", rows[:7]), write_run(tmp_path / "two", rows[7:])
    assert fails_with(one, two).startswith("the runs one, two have no sticker in common: ")


@pytest.mark.parametrize(("field", "value"), [("label", 1), ("image_sha256", "f" * 64)])
def test_a_corpus_that_changed_between_the_runs(tmp_path: Path, field: str, value: object) -> None:
    rows = described(1)
    one = write_run(tmp_path / "one", rows)
    two = write_run(tmp_path / "two", [{**rows[0], field: value}, *rows[1:]])
    what = {"label": "label", "image_sha256": "picture"}[field]
    said = fails_with(one, two)
    assert said.startswith(f"the sticker 'stickers/0000.png' has another {what} in two than in one: ")


def test_a_split_that_no_run_has(tmp_path: Path) -> None:
    said = fails_with(write_run(tmp_path / "one", described(1)), "--split", "validation")
    assert said == "no run has a row of the split 'validation': --split can be train"


def test_an_unknown_rule_of_grouping(tmp_path: Path) -> None:
    said = fails_with(write_run(tmp_path / "one", described(2)), "--together", "topic")
    assert said == "--together is 'topic': give one of auto, picture, name, folder"


def test_a_damaged_manifest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", described(1))
    (run / "manifest.json").write_text("{}")
    assert fails_with(run).startswith(f"the manifest {run / 'manifest.json'} is damaged")


def test_a_markdown_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "scores.md").write_text("mine")
    run = write_run(tmp_path / "one", described(1))
    assert "scores.md already exists" in fails_with(run, "--out", tmp_path / "scores.md")
    assert not (run / "score.json").exists()


def test_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", described(1))
    assert fails_with(run, "--encoder", tmp_path / "no").startswith("no usable text encoder at ")


def test_a_folder_of_a_trial_gives_its_packs_without_those_that_have_no_row(tmp_path: Path) -> None:
    for name in ("b", "a", "late"):
        write_run(tmp_path / "try" / name, described(1))
    (tmp_path / "try" / "late" / "descriptions-00000.parquet").unlink()
    runs, notes = find_runs([tmp_path / "try", tmp_path / "try" / "a"])
    assert [run.name for run in runs] == ["a", "b"]
    assert notes == ["late has no finished row and is left out"]


def test_the_same_picture_is_kept_together_under_two_names(tmp_path: Path) -> None:
    rows = described(4)
    rows[9]["image_sha256"] = rows[2]["image_sha256"]
    groups, rule = group_stickers(stickers_of(rows))
    assert rule == "picture" and len(set(groups)) == 27 and groups[9] == groups[2]


def test_sticker_sets_are_kept_together_by_folder_and_classes_are_not() -> None:
    sets, classes = described(20), described(20)
    for number, (row, other) in enumerate(zip(sets, classes, strict=True)):
        row["path"] = f"Images/set {number // 5}/{number % 5}.png"
        other["path"] = f"{other['label_name']}/{number // 7}.png"
    groups, rule = group_stickers(stickers_of(sets))
    assert rule == "folder" and len(set(groups)) == 28
    groups, rule = group_stickers(stickers_of(classes))
    assert rule == "picture" and len(set(groups)) == 140


def test_folds_keep_groups_whole_and_labels_even() -> None:
    labels = np.arange(210) % 7
    groups = np.arange(210) // 7 % 10 * 7 + labels
    folds = assign_folds(labels, groups, seed=0)
    assert folds is not None and folds.shape == (REPEATS, 210)
    for row in folds:
        assert all(len(set(row[groups == group])) == 1 for group in set(groups))
        counts = np.array([[np.sum((row == f) & (labels == k)) for k in range(7)] for f in range(5)])
        assert counts.min() == counts.max() == 6
    assert any(not np.array_equal(folds[0], row) for row in folds[1:])


def test_the_probe_never_sees_the_labels_of_its_own_fold() -> None:
    """A fold whose labels stand in no other fold is guessed wrong altogether."""
    labels = np.repeat([0, 1, 2], 10)
    features = np.eye(3, dtype=np.float32)[labels]
    folds = np.tile(labels, (1, 1))
    assert not (linear_probe(features, labels, folds) == labels).any()
    assert not (nearest_neighbours(features[:, None], labels, folds) == labels).any()


def test_neighbours_that_tie_all_vote_and_without_text_the_most_frequent_label_is_guessed() -> None:
    # Five of label 0 have the same text as seven of label 1 behind them; ten more of label 0 have another.
    labels = np.array([0] * 5 + [1] * 7 + [0] * 10 + [1, 2])
    features = np.ones((24, 1, 4), dtype=np.float32)
    features[12:22] = (1, 0, 0, 0)
    features[23] = 0
    folds = np.array([[1] * 22 + [0, 0]])
    assert nearest_neighbours(features, labels, folds)[0, 22:].tolist() == [1, 0]
