"""inference.json beside the weights, what a start of a run remembers, and two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from squares import LABELS, World
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model import TextEncoder
from mghft.train.evaluation.calibration import fit_temperature
from mghft.train.evaluation.opened_run import open_run
from mghft.train.evaluation.trained_runs import open_runs
from mghft.train.runs.difference import run_differences
from mghft.train.runs.inference import read_inference
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("inference"))


@pytest.fixture(scope="module")
def run(world: World) -> Path:
    (world.runs / "manifest.json").write_text(
        json.dumps({"model": {"name": "llava-x"}, "prompt": {"name": "multiview"}})
    )
    return train(world.config("run", augmentation={"crop_pct": 0.9, "interpolation": "bilinear"}))


def test_weights_alone_say_how_they_are_used(world: World, run: Path) -> None:
    found = read_inference(run / "best")
    assert found is not None and found.labels == LABELS and found.corpus == "Coloured squares"
    image, text = found.image, found.text
    assert (image.side, image.short_side, image.crop_pct, image.interpolation) == (32, 64, 0.9, "bilinear")
    assert image.mean == IMAGENET_DEFAULT_MEAN and image.std == IMAGENET_DEFAULT_STD
    assert text is not None and text.encoder == str(world.encoder) and text.pooling == "last4_masked_mean"
    assert text.views == ("content", "style", "intention", "details") and not text.tuned
    assert text.fingerprint == TextEncoder.from_pretrained(world.encoder).fingerprint()
    assert (text.described_by, text.prompt) == ("llava-x", "multiview")


def test_temperature_is_that_of_the_best_weights_on_validation(run: Path) -> None:
    (trained,) = open_runs([run])
    opened = open_run(trained, ["validation"])
    split = opened.splits["validation"]
    expected = fit_temperature(opened.predict(split, batch_size=64), split.labels)
    found = read_inference(run / "best")
    assert found is not None and found.temperature == pytest.approx(expected, rel=1e-3)
    assert np.isfinite(expected)


def test_without_text_there_is_no_encoder(world: World) -> None:
    fields: dict[str, Any] = {"use_text": False, "descriptions": None, "epochs": 1, "warmup_epochs": 0}
    found = read_inference(train(world.config("blind", **fields)) / "best")
    assert found is not None and found.text is None and found.own_text is None


def test_tuned_encoder_lies_beside(world: World) -> None:
    folder = train(world.config("tuned", tune_text_encoder=True, epochs=1, warmup_epochs=0)) / "best"
    found = read_inference(folder)
    assert found is not None and found.text is not None
    assert found.text.tuned and found.text.fingerprint is None and (folder / "text_encoder").is_dir()


def test_peer_that_reads_the_text_on_stickers_says_by_what(world: World) -> None:
    fields: dict[str, Any] = {
        "network": "pvt-bert",
        "descriptions": None,
        "epochs": 1,
        "warmup_epochs": 0,
        "model": {"preset": "tiny", "image_size": 32, "text_length": 7},
    }
    found = read_inference(train(world.config("peer", **fields)) / "best")
    assert found is not None and found.own_text is not None and found.text is None
    assert found.own_text.length == 7 and found.own_text.encoder == str(world.encoder)
    assert (found.own_text.fingerprint or "").endswith("-tokens-7")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "is of format 2: a later version of mghft reads it"),
        ({"labels": ["one"]}, "labels"),
        ({"temperature": 0}, "temperature"),
        ({"shell": "rm"}, "has no field 'shell'"),
    ],
)
def test_damaged_file_is_named(run: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    content = json.loads((run / "best" / "inference.json").read_text())
    (tmp_path / "inference.json").write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=words):
        read_inference(tmp_path)
    (tmp_path / "inference.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        read_inference(tmp_path)


def test_start_of_a_run_says_what_it_ran_on(run: Path) -> None:
    resolved = json.loads((run / "config.json").read_text())
    (start,) = resolved["starts"]
    assert set(start) == {"at", "command", "commit", "device", "threads"}
    assert start["threads"] == 1 and start["device"]
    assert {"python", "mghft", "torch", "tokenizers", "safetensors", "scipy"} <= resolved["versions"].keys()


def test_diff_names_what_differs_and_nothing_else(world: World, run: Path) -> None:
    other = train(world.config("other", augmentation={"crop_pct": 0.9, "interpolation": "bilinear"}, seed=7))
    found = {(one.section, one.field): (one.first, one.second) for one in run_differences(run, other)}
    assert found["configuration", "seed"] == (42, 7)
    assert found["place", "out"] == (str(run), str(other))
    assert {section for section, _ in found} <= {"configuration", "place", "result"}
    assert [field for section, field in found if section == "configuration"] == ["seed"]
    assert run_differences(run, run) == []
    result = CliRunner().invoke(app, ["runs", "diff", str(run), str(other)])
    assert (
        result.exit_code == 0 and "seed" in result.stdout and f"{len(found)} fields differ" in result.stdout
    )
    result = CliRunner().invoke(app, ["runs", "diff", str(run), str(other), "--json"])
    assert [(one["section"], one["field"]) for one in json.loads(result.stdout)] == list(found)


def test_diff_of_descriptions_and_of_two_kinds(world: World, run: Path, tmp_path: Path) -> None:
    for name, model in (("a", "llava-x"), ("b", "llava-y")):
        (tmp_path / name).mkdir()
        manifest = {"fingerprint": name, "model": {"name": model}, "prompt": {"name": "multiview"}}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    (found,) = run_differences(tmp_path / "a", tmp_path / "b")
    assert (found.field, found.first, found.second) == ("model.name", "llava-x", "llava-y")
    with pytest.raises(ValueError, match="compare two of one kind"):
        run_differences(run, tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        run_differences(run, world.data)
