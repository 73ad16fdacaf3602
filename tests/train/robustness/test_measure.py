"""Robustness of trained runs: undisturbed as `mghft eval`, each condition as the network itself answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from squares import World
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model import MGHFT
from mghft.pipeline.predictions import Predictions, read_predictions
from mghft.train.data.sampler import eval_transform
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.opened_run import open_run
from mghft.train.evaluation.trained_runs import EvalConfig, open_runs
from mghft.train.robustness.measure import RobustnessConfig, measure_robustness, open_seeds
from mghft.train.robustness.tables import markdown, write_robustness
from mghft.train.robustness.texts import derangement
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """Two seeds with text and one without, on squares of which some have transparent corners."""
    world = World(tmp_path_factory.mktemp("robust"))
    for path in sorted((world.data / "test").iterdir())[:5]:
        image = Image.open(path).convert("RGBA")
        image.paste((0, 0, 0, 0), (0, 0, 12, 12))
        image.save(path)
    train(world.config("text-1", seed=1))
    train(world.config("text-2", seed=2))
    train(world.config("plain", seed=1, use_text=False))
    runs = [world.folder / name for name in ("text-1", "text-2", "plain")]
    out = world.folder / "robustness"
    result = CliRunner().invoke(app, ["robustness", *map(str, runs), "--out", str(out), "--num-threads", "1"])
    assert result.exit_code == 0, result.output
    assert "MGHFT without text reads no descriptions" in result.output
    return world, out


def by_condition(out: Path, seed: int = 1) -> dict[str, Predictions]:
    return {one.system: one for one in read_predictions(out) if one.seed == seed}


def test_undisturbed_is_what_eval_says(judged: tuple[World, Path], tmp_path: Path) -> None:
    world, out = judged
    found = by_condition(out)
    evaluate(
        EvalConfig(runs=(world.folder / "text-1", world.folder / "plain"), out=tmp_path, splits=("test",))
    )
    for one in read_predictions(tmp_path):
        if one.system.startswith("MGHFT"):
            mine = found[f"{one.system} · undisturbed"]
            assert mine.ids == one.ids
            np.testing.assert_allclose(mine.probabilities, one.probabilities, atol=1e-6)


def test_conditions_are_what_the_network_answers(judged: tuple[World, Path]) -> None:
    world, out = judged
    found = by_condition(out)
    (run,) = open_runs([world.folder / "text-1"])
    split = open_run(run, {"test"}).splits["test"]
    model = MGHFT.from_pretrained(run.weights).eval()
    transform = eval_transform(32, run.config.augmentation)
    images = torch.stack([transform(split.images[row]) for row in range(12)])
    assert split.features is not None and split.mask is not None

    def answers(features: torch.Tensor, mask: torch.Tensor, pictures: torch.Tensor = images) -> np.ndarray:
        with torch.inference_mode():
            return model(pictures, features, text_mask=mask).logits.double().softmax(1).numpy()

    def same(condition: str, expected: np.ndarray) -> None:
        np.testing.assert_allclose(found[f"MGHFT · {condition}"].probabilities, expected, atol=1e-5)

    nothing = torch.zeros_like(split.mask)
    same("missing views: all", answers(split.features, nothing))
    without_style = split.mask.clone()
    without_style[:, 1] = False
    same("missing views: style", answers(split.features, without_style))
    without_style[:, 3] = False
    same("missing views: style and details", answers(split.features, without_style))
    places = torch.from_numpy(derangement(12, seed=0))
    same("another sticker's descriptions: any other sticker", answers(split.features[places], split.mask))
    grey = torch.stack([transform(split.images[row].convert("L").convert("RGB")) for row in range(12)])
    same("colours: gray", answers(split.features, split.mask, grey))
    # Every text is "VIEW is LABEL"; labels that are colours' temperatures have forms of their own.
    texts = [tuple(f"{view} is " for view in ("content", "style", "intention", "details"))] * 12
    same("label words taken out", answers(open_run(run, {"test"}).features(texts), split.mask))


def test_black_background_touches_what_has_transparency(judged: tuple[World, Path]) -> None:
    _, out = judged
    found = by_condition(out)
    changed = np.abs(
        found["MGHFT · transparency: on black"].probabilities - found["MGHFT · undisturbed"].probabilities
    ).max(1)
    assert (changed[:5] > 1e-7).all() and (changed[5:] < 1e-7).all()
    results = json.loads((out / "robustness.json").read_text())["results"]
    notes = {one["condition"]["kind"]: one["condition"]["note"] for one in results}
    assert notes["transparency"] == "5 of 12 pictures have transparency"
    assert notes["label words taken out"] == "48 of 48 texts hold one"


def test_table_has_every_condition_of_every_system(judged: tuple[World, Path]) -> None:
    _, out = judged
    found = json.loads((out / "robustness.json").read_text())
    assert found["seeds"] == {"MGHFT": [1, 2], "MGHFT without text": [1]}
    counts = {name: sum(one["system"] == name for one in found["results"]) for name in found["seeds"]}
    # Undisturbed, 4 + 6 + 1 views, 3 exchanges, label words, 9 pictures, transparency.
    assert counts == {"MGHFT": 26, "MGHFT without text": 11}
    assert (out / "robustness.png").read_bytes().startswith(b"\x89PNG")
    rows = (out / "robustness.md").read_text().splitlines()
    assert sum(row.startswith("| MGHFT") for row in rows) == 37
    assert len((out / "robustness.csv").read_text().splitlines()) == 38
    for one in found["results"]:
        difference = one["difference"]
        assert (difference is None) == (one["condition"]["kind"] == "undisturbed")
        assert difference is None or difference["p_holm"] >= difference["p_value"]


def test_runs_that_differ_in_more_than_the_seed_keep_their_folders_names(judged: tuple[World, Path]) -> None:
    world, out = judged
    other = world.folder / "other"
    if not other.exists():
        train(world.config("other", seed=2, label_smoothing=0.0))
    names = [run.name for run in open_seeds(RobustnessConfig(runs=(world.folder / "text-1", other), out=out))]
    assert names == ["MGHFT", "MGHFT (other)"]
    copy = world.folder / "copy"
    shutil.copytree(world.folder / "text-1", copy, dirs_exist_ok=True)
    with pytest.raises(ValueError, match="is a second MGHFT with seed 1: give one"):
        open_seeds(RobustnessConfig(runs=(world.folder / "text-1", copy), out=out))


def test_split_without_transparency_says_so(judged: tuple[World, Path], tmp_path: Path) -> None:
    world, _ = judged
    config = RobustnessConfig(
        runs=(world.folder / "plain",), out=tmp_path / "out", split="validation", rounds=100
    )
    found, predictions = measure_robustness(config)
    write_robustness(config.out, found, predictions)
    assert any("no picture of this split has transparency" in note for note in found.notes)
    assert all(result.condition.kind != "transparency" for result in found.results)
    assert "no picture of this split has transparency" in markdown(found)


def test_slip_is_answered_in_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["robustness", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, FileNotFoundError) or "is not a run folder" in result.output
    assert not (tmp_path / "out").exists()
