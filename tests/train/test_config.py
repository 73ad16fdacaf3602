"""One configuration from recipe, file and overrides; errors name the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mghft.train.config import load_config, recipe_names
from mghft.train.data.splits import resolve_model
from mghft.train.trainer.optimizer import build_optimizer, learning_rate

BASE: dict[str, Any] = {"card": "emoji", "data": "d", "descriptions": "r", "out": "o"}


def test_recipes_are_valid_and_build_their_models() -> None:
    assert recipe_names() == ["cpu", "mghft"]
    for name in recipe_names():
        config = load_config(name, overrides=BASE)
        assert config.recipe == name
        assert resolve_model(config.model_options, labels=("a", "b"), text_dim=384).num_classes == 2


def test_paper_recipe_scales_the_learning_rate_by_batch_and_processes() -> None:
    config = load_config("mghft", overrides=BASE)
    assert config.learning_rate(processes=2) == pytest.approx(1e-3 * 16 * 2 / 512)


def test_override_wins_over_file_and_file_over_recipe(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("epochs: 7\nbatch_size: 3\nmodel: {alpha: 2}\n")
    changes = {**BASE, "batch_size": 5, "model.hidden_dim": 96}
    config = load_config("cpu", file, changes)
    assert (config.epochs, config.batch_size, config.seed) == (7, 5, load_config("cpu", None, BASE).seed)
    assert (config.model["alpha"], config.model["hidden_dim"]) == (2, 96)
    assert config.model["embed_dims"] == [32, 64, 160, 256]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "wrong at epochs: must be at least 1, not 0"),
        ({"epoch": 3}, "has no field 'epoch'"),
        ({"augmentation.hflips": 1}, "has no field 'augmentation.hflips'"),
        ({"model.num_classes": 3}, "model.num_classes: it follows from"),
        ({"epochs": 2, "warmup_epochs": 2}, "warmup_epochs: 2"),
    ],
)
def test_wrong_field_is_named_in_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_config("mghft", overrides={**BASE, **change})
    assert "\n" not in str(caught.value)


def test_text_without_descriptions_is_refused() -> None:
    fields = {name: value for name, value in BASE.items() if name != "descriptions"}
    with pytest.raises(ValueError, match="descriptions: a run with text needs"):
        load_config("mghft", overrides=fields)


def test_wrong_field_of_the_model_is_named() -> None:
    config = load_config("mghft", overrides={**BASE, "model.alhpa": 3})
    with pytest.raises(ValueError, match="the model configuration has no field 'alhpa'"):
        resolve_model(config.model_options, labels=("a", "b"), text_dim=384)


def test_schedule_warms_up_and_ends_at_the_minimum() -> None:
    config = load_config("mghft", overrides={**BASE, "epochs": 10, "warmup_epochs": 2})
    rates = [learning_rate(step, config.schedule, peak=1e-3, steps_per_epoch=10) for step in range(100)]
    assert rates[0] == config.warmup_lr
    assert rates[20] == max(rates) == 1e-3
    assert rates[-1] == pytest.approx(config.min_lr)
    assert rates[59] + rates[60] == pytest.approx(1e-3 + config.min_lr, rel=0.02)


def test_one_dimensional_parameters_do_not_decay() -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    groups = build_optimizer(
        model, torch.device("cpu"), lr=1e-3, weight_decay=0.05, text_lr_scale=0.1
    ).param_groups
    decays = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in groups}
    assert decays == {0.0: [1, 1, 1], 0.05: [2]}
