"""Weights of the eye: folded exactly, small, and where `pvt_weights: eye` puts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from squares import World
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from mghft.model import MGHFT, MGHFTConfig, load_pvt_weights
from mghft.model.state_dict_keys import mghft_name, pvt_name
from mghft.pipeline.corpora.emoji.augment import INK_STD
from mghft.pipeline.settings import read_settings
from mghft.train.config import RECIPES_FOLDER, load_config
from mghft.train.eye.network import eye_config
from mghft.train.eye.weights import FOLDER, SHAPE, export, fold_normalisation
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train

FILE = FOLDER / "model.safetensors"


def _cpu_model() -> dict[str, object]:
    model = read_settings(RECIPES_FOLDER / "cpu.yaml")["model"]
    return {**model, "image_size": 32}


def _tiny(**fields: object) -> MGHFT:
    torch.manual_seed(0)
    return MGHFT(MGHFTConfig.preset("tiny", **{"image_size": 32, "use_text": False, **fields})).eval()


def test_folding_of_the_normalisation_is_exact() -> None:
    model = _tiny().double()
    rgb = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
        for v in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    )
    first = model.backbone.stages[0].patch_projection
    assert isinstance(first, nn.Conv2d) and first.bias is not None
    nn.init.normal_(first.bias)
    before = model((rgb - 1) / INK_STD).logits
    unfolded = model((rgb - mean) / std).logits
    with torch.no_grad():
        weight, bias = fold_normalisation(first.weight, first.bias)
        first.weight.copy_(weight)
        first.bias.copy_(bias)
    after = model((rgb - mean) / std).logits
    assert (after - before).abs().max() < 1e-12 < (unfolded - before).abs().max()


def test_names_of_pvt_are_those_that_are_read() -> None:
    names = [n for n in _tiny().state_dict() if n.startswith(("backbone.", "token_norm."))]
    assert [mghft_name(pvt_name(name)) for name in names] == names
    with pytest.raises(ValueError, match="none of the backbone's"):
        pvt_name("head.weight")


def test_exported_backbone_is_loaded_with_all_class_tokens(tmp_path: Path) -> None:
    model = _tiny()
    file = export(model, tmp_path)
    assert all(tensor.dtype == torch.bfloat16 for tensor in load_file(file).values())
    torch.manual_seed(1)
    other = MGHFT(model.config)
    assert load_pvt_weights(other, file) == []
    for stage in range(4):
        name = f"backbone.stages.{stage}.class_token"
        assert torch.equal(other.state_dict()[name], model.state_dict()[name].bfloat16().float())
    without = _tiny(local_stages=(True, False, True, False))
    assert load_pvt_weights(without, file) == []


def test_shipped_file_is_small_and_of_the_shape_of_the_recipe_cpu() -> None:
    assert FILE.stat().st_size <= 10 * 1024 * 1024
    shape = json.loads((FOLDER / "config.json").read_text())
    config = eye_config().model_dump(mode="json")
    assert shape == {name: config[name] for name in ("image_size", *SHAPE)}
    assert all(tensor.isfinite().all() for tensor in load_file(FILE).values())


def test_training_begins_with_the_shipped_backbone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(Trainer, "fit", lambda self: found.append(self.weights.full_model().state_dict()))
    train(world.config("run", pvt_weights="eye", model=_cpu_model()))
    for name, tensor in load_file(FILE).items():
        assert torch.equal(found[0][str(mghft_name(name))], tensor.float()), name


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"embed_dims": [8, 16, 40, 64]}, "embed_dims"), ({"num_heads": [1, 2, 4, 8]}, "num_heads")],
)
def test_network_of_another_shape_is_refused(world: World, changes: dict[str, object], field: str) -> None:
    model = {**_cpu_model(), **changes}
    with pytest.raises(ValueError, match=f"the shipped eye needs model.{field}") as caught:
        train(world.config("run", pvt_weights="eye", model=model))
    assert "\n" not in str(caught.value)


def test_recipe_cpu_begins_with_the_eye_at_the_size_it_was_made_for() -> None:
    asked = {"card": "emoji", "data": "d", "descriptions": "r", "out": "o"}
    config = load_config("cpu", overrides=asked)
    assert (config.pvt_weights, config.backbone_lr_scale) == ("eye", 0.3)
    assert (config.epochs, config.lr, config.warmup_epochs) == (15, 1e-3, 1)
    assert config.model["image_size"] == json.loads((FOLDER / "config.json").read_text())["image_size"]
