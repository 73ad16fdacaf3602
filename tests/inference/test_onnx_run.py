"""`mghft model export`: a run as an ONNX file that numpy and onnxruntime alone can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from squares import World
from typer.testing import CliRunner

from mghft.cli import app
from mghft.inference import Predictor
from mghft.train.trainer.trainer import train


def export(*words: object) -> Any:
    return CliRunner().invoke(app, ["model", "export", *map(str, words)])


def test_file_alone_predicts_as_the_run(world: World, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "squares.onnx"
    done = export(run, "--out", out, "--quantize", "int8", "--split", "test", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert [Path(one["file"]).name for one in facts["files"]] == ["squares.onnx", "squares.int8.onnx"]
    assert facts["files"][0]["difference"] < 1e-4
    assert facts["accuracy"]["ONNX"] == facts["accuracy"]["PyTorch"] and "int8" in facts["accuracy"]

    session = onnxruntime.InferenceSession(out)
    told = json.loads(session.get_modelmeta().custom_metadata_map["mghft"])
    assert told["labels"] == ["cold", "warm", "green"] and told["image"]["side"] == 32
    path = world.data / world.rows[0]["path"]
    predictor = Predictor.from_pretrained(run)
    (expected,) = predictor([path], calibrated=True)
    from PIL import Image

    pixels = predictor.classifier.pixels([Image.open(path).convert("RGB")]).numpy()
    inputs = {
        "image": pixels,
        "text_features": np.zeros((1, 4, 16), np.float32),
        "text_mask": np.zeros((1, 4), bool),
    }
    (logits,) = session.run(None, inputs)
    scaled = np.exp(logits[0] / told["temperature"])
    assert scaled / scaled.sum() == pytest.approx(list(expected.probabilities.values()), abs=1e-4)
    assert export(run, "--out", out).stdout.startswith("file")


def test_what_cannot_be_exported_is_said(world: World, run: Path, tmp_path: Path) -> None:
    tuned = train(world.config("tuned-onnx", tune_text_encoder=True, epochs=1, warmup_epochs=0))
    for words, sentence in (
        ([run, "--out", tmp_path / "x.bin"], "end it in .onnx"),
        ([tuned, "--out", tmp_path / "x.onnx"], "trained its text encoder along"),
        ([tmp_path, "--out", tmp_path / "x.onnx"], "has no weights yet"),
        ([run, "--out", tmp_path / "x.onnx", "--format", "coreml"], "choose one of onnx"),
    ):
        done = export(*words)
        assert done.exit_code == 2 and sentence in done.stderr, done.output
    assert not list(tmp_path.glob("*.onnx"))
