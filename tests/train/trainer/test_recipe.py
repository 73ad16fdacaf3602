"""The recipe `mghft` is the paper's, in resolved values and in what the trainer does with them."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from pydantic import BaseModel
from squares import World
from timm.data.auto_augment import RandAugment

from mghft.model import MGHFT, load_pvt_weights
from mghft.pipeline.settings import describe_fields
from mghft.train.augmentation import Augmentation
from mghft.train.config import TrainConfig, load_config
from mghft.train.data.sampler import EpochBatches, eval_transform, train_transform
from mghft.train.data.splits import resolve_model
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.optimizer import build_optimizer, learning_rate
from mghft.train.trainer.trainer import train

ASKED = {"card": "emoji", "data": "d", "descriptions": "r", "out": "o"}
COMMIT = "0123456789012345678901234567890123456789"
PVT_SHAPE = {"embed_dims": [8, 16, 40, 64], "depths": [1, 1, 1, 1]}


@pytest.fixture
def recipe() -> TrainConfig:
    return load_config("mghft", overrides=ASKED)


def test_resolved_values_are_the_papers(recipe: TrainConfig) -> None:
    """Batch 16 on each of two GPUs, AdamW, cosine, DeiT's augmentation without mixing and erasing."""
    expected: dict[str, Any] = {
        "epochs": 50,
        "batch_size": 16,
        "lr": None,
        "base_lr": 1e-3,
        "warmup_lr": 1e-5,
        "warmup_epochs": 5,
        "min_lr": 1e-5,
        "weight_decay": 0.05,
        "clip_grad": None,
        "label_smoothing": 0.2,
        "ema_decay": None,
        "repeats": 3,
        "seed": 42,
        "mixed_precision": "auto",
        "text_encoder": "bert-base-uncased",
        "tune_text_encoder": False,
        "pvt_weights": "Zetatech/pvt-small-224",
    }
    assert {name: getattr(recipe, name) for name in expected} == expected
    model = resolve_model(recipe.model_options, labels=("a",) * 7, text_dim=768)
    assert (model.image_size, model.depths, model.embed_dims) == (448, (3, 4, 6, 3), (64, 128, 320, 512))
    assert (model.drop_path, model.label_smoothing, model.alignment_weight) == (0.1, 0.2, 0.5)
    assert (model.alpha, model.local_stages) == (8, (True, True, True, False))


def test_learning_rate_follows_the_curve_on_two_gpus(recipe: TrainConfig) -> None:
    steps = 656
    peak = recipe.learning_rate(processes=2)
    assert peak == pytest.approx(6.25e-5)
    rates = [
        learning_rate(step, recipe.schedule, peak=peak, steps_per_epoch=steps) for step in range(50 * steps)
    ]
    assert rates[0] == 1e-5
    assert rates[5 * steps] == max(rates) == peak
    assert rates[steps] == pytest.approx(1e-5 + (6.25e-5 - 1e-5) / 5)
    for share in (0.25, 0.5, 0.75):
        step = 5 * steps + round(share * (45 * steps - 1))
        expected = 1e-5 + (6.25e-5 - 1e-5) * (1 + math.cos(math.pi * share)) / 2
        assert rates[step] == pytest.approx(expected, rel=1e-3)
    assert rates[-1] == pytest.approx(1e-5)


def test_trainer_applies_the_curve(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {name: world.fields("run")[name] for name in ("card", "data", "descriptions", "out", "model")}
    small = {
        "text_encoder": str(world.encoder),
        "epochs": 7,
        "workers": 0,
        "progress": False,
        "num_threads": 1,
    }
    config = load_config(
        "mghft",
        overrides={
            **tiny,
            **small,
            "pvt_weights": None,
            "batch_size": 8,
            "cache_dir": world.folder / "cache",
            "checkpoint_every_epochs": 7,
            "lr": 4e-4,
        },
    )
    rates: list[float] = []
    original = Trainer.train_step

    def train_step(self: Trainer, images: torch.Tensor, indices: torch.Tensor) -> dict[str, float]:
        losses = original(self, images, indices)
        assert len({group["lr"] for group in self.optimizer.param_groups}) == 1
        rates.append(self.optimizer.param_groups[0]["lr"])
        return losses

    monkeypatch.setattr(Trainer, "train_step", train_step)
    train(config)
    warmup = [1e-5 + (4e-4 - 1e-5) * step / 15 for step in range(15)]
    cosine = [1e-5 + (4e-4 - 1e-5) * (1 + math.cos(math.pi * step / 5)) / 2 for step in range(6)]
    assert rates == pytest.approx([*warmup, *cosine])


def test_training_images_go_through_deits_augmentation(recipe: TrainConfig) -> None:
    crop, flip, randaugment, tensor, normalize = train_transform(448, recipe.augmentation).transforms
    assert (crop.size, crop.scale, crop.interpolation.value) == ((448, 448), (0.08, 1.0), "bicubic")
    assert crop.ratio == pytest.approx((3 / 4, 4 / 3))
    assert flip.p == 0.5
    assert isinstance(randaugment, RandAugment)
    assert randaugment.num_layers == 2
    operations = {operation.name for operation in randaugment.ops}
    assert {(op.magnitude, op.magnitude_std, op.prob) for op in randaugment.ops} == {(9, 0.5, 0.5)}
    # "inc1": the variants whose strength grows with the magnitude.
    assert {"PosterizeIncreasing", "SolarizeIncreasing", "ColorIncreasing"} <= operations
    assert type(tensor).__name__ == "MaybeToTensor"
    assert normalize.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert normalize.std.tolist() == pytest.approx([0.229, 0.224, 0.225])


def test_colour_jitter_of_the_recipe_acts_only_without_randaugment(recipe: TrainConfig) -> None:
    """timm's rule: the policy brings its own colours."""
    names = [type(step).__name__ for step in train_transform(448, recipe.augmentation).transforms]
    assert "ColorJitter" not in names
    plain = recipe.augmentation.model_copy(update={"auto_augment": None})
    jitter = train_transform(448, plain).transforms[2]
    assert jitter.brightness == jitter.contrast == jitter.saturation == (0.9, 1.1)


def test_evaluation_crops_the_middle_of_the_enlarged_image(recipe: TrainConfig) -> None:
    transform = eval_transform(448, recipe.augmentation)
    assert transform.transforms[0].size == 512
    assert tuple(transform.transforms[1].size) == (448, 448)
    assert transform(Image.new("RGB", (300, 400))).shape == (3, 448, 448)


def test_copies_of_a_sticker_fall_into_one_step_of_both_processes() -> None:
    found = [EpochBatches(96, seed=42, batch_size=16, repeats=3, rank=rank, processes=2) for rank in range(2)]
    for batches in found:
        batches.start(0)
    steps = [[*first, *second] for first, second in zip(*found, strict=True)]
    assert [len(step) for step in steps] == [32, 32, 32]
    everything = Counter(draw.sticker for step in steps for draw in step)
    assert set(everything.values()) == {3} and len(everything) == 32
    assert all(len({draw.sticker for draw in step}) <= 12 for step in steps)


def test_biases_norms_and_nothing_else_are_free_of_weight_decay(recipe: TrainConfig) -> None:
    with torch.device("meta"):
        model = MGHFT(resolve_model(recipe.model_options, labels=("a",) * 7, text_dim=768))
    decay = recipe.weight_decay
    groups = build_optimizer(
        model, torch.device("cpu"), lr=1e-3, weight_decay=decay, text_lr_scale=0.1
    ).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    free = {names[id(p)] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert free == {name for name, p in model.named_parameters() if p.ndim <= 1}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}
    assert sum(len(group["params"]) for group in groups) == len(names)


@pytest.fixture
def pvt(tmp_path: Path) -> Path:
    """A PVT of transformers in the hub's cache, where `someone/pvt` is found without a network."""
    repository = tmp_path / "hub" / "models--someone--pvt"
    torch.manual_seed(1)
    config = transformers.PvtConfig(
        image_size=224,
        hidden_sizes=PVT_SHAPE["embed_dims"],
        depths=PVT_SHAPE["depths"],
        num_attention_heads=[1, 2, 5, 8],
        mlp_ratios=[8, 8, 4, 4],
        sequence_reduction_ratios=[8, 4, 2, 1],
        num_labels=5,
    )
    transformers.PvtForImageClassification(config).save_pretrained(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


def test_pvt_weights_are_a_file_a_folder_or_a_hub_id(
    world: World, pvt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(pvt.parents[2]))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = []
    monkeypatch.setattr(Trainer, "fit", lambda self: found.append(self.weights.full_model().state_dict()))
    for number, source in enumerate([None, str(pvt / "model.safetensors"), str(pvt), "someone/pvt"]):
        train(world.config(f"run{number}", pvt_weights=source))
    expected = MGHFT(resolve_model(world.config("x").model_options, labels=("a", "b", "c"), text_dim=16))
    load_pvt_weights(expected, pvt)
    name = "backbone.stages.2.blocks.0.mlp.fc1.weight"
    scratch, *loaded = [state[name] for state in found]
    assert all(torch.equal(tensor, expected.state_dict()[name]) for tensor in loaded)
    assert not torch.equal(scratch, loaded[0])


def test_pvt_that_is_nowhere_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for source, message in [
        ("nowhere/pvt-none", "no model at nowhere/pvt-none"),
        ("pvt.pth", "the weights file .* does not exist"),
    ]:
        with pytest.raises(FileNotFoundError, match=message) as caught:
            train(world.config("run", pvt_weights=source))
        assert "\n" not in str(caught.value)


def test_null_takes_a_value_of_the_recipe_away() -> None:
    assert load_config("mghft", overrides={**ASKED, "pvt_weights": None}).pvt_weights is None


def _named(model: type[BaseModel], prefix: str = "") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        names |= _named(field.annotation, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}  # type: ignore[arg-type]
    return names


def test_every_field_has_a_help_line_and_all_but_two_a_default() -> None:
    lines = list(describe_fields(TrainConfig))
    assert {line.split(":")[0] for line in lines} == _named(TrainConfig)
    assert {"augmentation.hflip", "imbalance.loss", "prefetch"} <= _named(TrainConfig)
    assert not [line for line in lines if ": None (" in line or ":  (" in line]
    assert [line.split(":")[0] for line in lines if line.endswith("(required)")] == ["card", "out"]
    assert set(Augmentation.model_fields) == {
        n.split(".")[1] for n in _named(TrainConfig) if "augmentation" in n
    }


def test_defaults_of_the_configuration_are_those_of_the_recipe(recipe: TrainConfig) -> None:
    plain = TrainConfig.model_validate(ASKED)
    differing = {name for name in TrainConfig.model_fields if getattr(plain, name) != getattr(recipe, name)}
    assert differing == {"model", "pvt_weights"}
    assert np.isclose(plain.learning_rate(1), 1e-3 * 16 / 512)


def test_released_rate_is_that_of_every_epoch_of_the_released_schedule() -> None:
    golden = json.loads((Path(__file__).parents[2] / "golden" / "recipe" / "lr.json").read_text())
    fields = {"card": "x", "data": Path("x"), "out": Path("y"), "use_text": False, "lr_changes": "epoch"}
    schedule = TrainConfig(**fields).schedule
    rates = [learning_rate(step, schedule, peak=golden["base"], steps_per_epoch=7) for step in range(50 * 7)]
    assert rates[::7] == pytest.approx(golden["lr_of_epoch"], rel=1e-9)
    assert rates[6::7] == rates[::7]
