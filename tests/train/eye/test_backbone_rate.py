"""`backbone_lr_scale`: the backbone's share of the learning rate."""

from __future__ import annotations

import pytest
import torch
from squares import World, metrics
from timm.optim import param_groups_weight_decay

from mghft.model import MGHFT, MGHFTConfig
from mghft.train.config import load_config
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.optimizer import build_optimizer
from mghft.train.trainer.trainer import train

ASKED = {"card": "emoji", "data": "d", "descriptions": "r", "out": "o"}


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The rate of backbone and rest at every step of the runs of a test."""
    found: list[dict[str, float]] = []
    original = Trainer.train_step

    def train_step(self: Trainer, images: torch.Tensor, indices: torch.Tensor) -> dict[str, float]:
        losses = original(self, images, indices)
        backbone = {id(p) for p in self.weights.full_model().backbone.parameters()}  # type: ignore[union-attr]
        found.append(
            {
                "backbone" if id(p) in backbone else "rest": group["lr"]
                for group in self.optimizer.param_groups
                for p in group["params"]
            }
        )
        return losses

    monkeypatch.setattr(Trainer, "train_step", train_step)
    return found


def test_backbone_has_its_share_of_the_rate(world: World, rates: list[dict[str, float]]) -> None:
    run = train(world.config("run", backbone_lr_scale=0.25, warmup_epochs=0))
    assert rates[0] == {"rest": 2e-3, "backbone": 0.25 * 2e-3}
    assert all(rate["backbone"] == 0.25 * rate["rest"] for rate in rates)
    assert metrics(run)[0]["lr"] == rates[3]["rest"]


def test_groups_hold_every_parameter_once_and_decay_as_before() -> None:
    model = MGHFT(MGHFTConfig.preset("tiny"))
    options = {"lr": 1.0, "weight_decay": 0.05, "text_lr_scale": 0.1}
    groups = build_optimizer(model, torch.device("cpu"), **options, backbone_lr_scale=0.3).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {id(p): 0.05 if p.ndim > 1 else 0.0 for p in model.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_share_of_one_leaves_groups_and_identity_as_runs_of_before_have_them() -> None:
    model = MGHFT(MGHFTConfig.preset("tiny"))
    options = {"lr": 1.0, "weight_decay": 0.05, "text_lr_scale": 0.1}
    groups = build_optimizer(model, torch.device("cpu"), **options, backbone_lr_scale=1.0).param_groups
    timm = param_groups_weight_decay(model, 0.05)
    assert [[id(p) for p in g["params"]] for g in groups] == [[id(p) for p in g["params"]] for g in timm]
    assert not any("lr_scale" in group for group in groups)
    assert "backbone_lr_scale" not in load_config("mghft", overrides=ASKED).identity()
    changed = load_config("mghft", overrides={**ASKED, "backbone_lr_scale": 0.3})
    assert changed.identity()["backbone_lr_scale"] == 0.3


def test_share_must_be_positive() -> None:
    with pytest.raises(ValueError, match="backbone_lr_scale"):
        load_config("mghft", overrides={**ASKED, "backbone_lr_scale": 0})


def test_stopped_run_resumes_to_the_same_weights(
    world: World, rates: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    same = {"backbone_lr_scale": 0.3, "checkpoint_every_steps": 2}
    undisturbed = train(world.config("undisturbed", **same))
    config, recorded = world.config("stopped", **same, resume=True), Trainer.train_step

    def stop_at_five(self: Trainer, images: torch.Tensor, indices: torch.Tensor) -> dict[str, float]:
        if self.state.step == 5:
            raise RuntimeError("stopped")
        return recorded(self, images, indices)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_at_five)
        with pytest.raises(RuntimeError, match="stopped"):
            train(config)
    train(config)
    first, second = (checkpoint_paths(run)[-1] for run in (undisturbed, config.out))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert rates[-1] == rates[7] and rates[-1]["backbone"] == pytest.approx(0.3 * rates[-1]["rest"])
