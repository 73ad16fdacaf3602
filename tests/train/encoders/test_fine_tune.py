"""Fine-tuned encoders learn, keep their best epoch, and train what is near the input least."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder_checkpoints import save_checkpoint
from squares import World
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.encoders import EncoderClassifier, ImageTextEncoder
from mghft.pipeline.predictions import read_predictions


def run(world: World, model: Path, *words: str) -> Path:
    out = world.folder / "tuned"
    arguments = ["probe", str(model), "--card", str(world.card), "--data", str(world.data), "--out", str(out)]
    arguments += ["--cache-dir", str(world.folder / "cache"), "--way", "fine-tune"]
    result = CliRunner().invoke(app, [*arguments, *words])
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return out


@pytest.mark.parametrize("family", ["clip", "vit", "blip-caption"])
def test_every_seed_has_a_row_and_colours_are_learnt(world: World, family: str) -> None:
    save_checkpoint(family, world.folder / family)
    out = run(world, world.folder / family, "--seed", "1", "--seed", "2", "--epochs", "30")
    found = [one for one in read_predictions(out) if one.split == "test"]
    assert [(one.system, one.seed) for one in found] == [(f"{family}: fine-tuned", seed) for seed in (1, 2)]
    assert not np.allclose(found[0].probabilities, found[1].probabilities)
    for one in found:
        assert (one.probabilities.argmax(1) == one.true).mean() >= 0.9
    facts = json.loads((out / "probe.json").read_text())["systems"][f"{family}: fine-tuned"]
    assert set(facts) == {"best epoch, seed 1", "best epoch, seed 2"}


@pytest.mark.parametrize("family", ["clip", "siglip", "blip", "blip-2", "vit", "dinov2"])
def test_rates_fall_towards_the_input(family: str, tmp_path: Path) -> None:
    save_checkpoint(family, tmp_path)
    model = EncoderClassifier(ImageTextEncoder.from_pretrained(tmp_path), 3, 32)
    groups = list(model.groups(lr=1.0, head_lr=7.0, layer_decay=0.5))
    # Two layers: into the first, the two, behind the last, the head.
    assert [group["lr"] for group in groups] == [0.125, 0.25, 0.5, 1.0, 7.0]
    count = sum(len(group["params"]) for group in groups)
    assert count == len(list(model.parameters()))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if "patch_embed" in name:
            assert rates[id(parameter)] == 0.125, name
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 3) and logits.eq(0).all()
