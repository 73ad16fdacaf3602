"""The overfit check, the dry run, and what a run shows of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from squares import World, metrics

from mghft.model import MGHFT
from mghft.model.joint import TunedMGHFT
from mghft.train import config as configuration
from mghft.train.data.splits import open_corpus
from mghft.train.evaluation import predict
from mghft.train.runs import tracking
from mghft.train.trainer.dry_run import dry_run, format_report
from mghft.train.trainer.overfit import OverfitFailedError, choose_stickers, verdict
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("checks"))


def test_overfit_check_of_a_sound_model_passes(world: World) -> None:
    run = train(world.config("overfit", overfit=6, use_text=False, descriptions=None))
    lines = metrics(run)
    assert verdict(run, 6) == f"overfit check passed: 100.0% of 6 stickers after {len(lines)} epochs"
    assert lines[-1]["validation_accuracy"] == 1.0 and len(lines) < 600
    assert lines[-1]["validation_loss"] < 0.1


def test_overfit_check_that_learns_nothing_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_OVERFIT_STEPS", 2)
    run = train(world.config("blank", overfit=6, lr=1e-9, use_text=False, descriptions=None))
    with pytest.raises(
        OverfitFailedError, match=r"overfit check failed: \d+.\d% of 6 stickers after 2 epochs: give more"
    ):
        verdict(run, 6)


def test_overfit_check_switches_off_what_hinders_it(world: World) -> None:
    config = world.config("x", overfit=6, ema_decay=0.9, view_dropout=0.5).for_overfit_check()
    assert config.augmentation.off
    assert (config.label_smoothing, config.view_dropout, config.weight_decay, config.ema_decay) == (
        0,
        0,
        0,
        None,
    )
    assert (config.model["drop_path"], config.model["fusion_dropout"]) == (0, 0)
    assert config.for_overfit_check() == config


def test_stickers_of_the_overfit_check_are_of_all_labels(world: World) -> None:
    stickers = open_corpus(world.config("x").sources).split("train")
    chosen = choose_stickers(stickers, 6, 0)
    assert sorted(sticker.label or 0 for sticker in chosen) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="has 24 stickers, not 25"):
        choose_stickers(stickers, 25, 0)


def test_dry_run_does_everything_and_leaves_nothing(world: World) -> None:
    before = sorted(world.folder.rglob("*"))
    world.config("dry")
    report = format_report(dry_run(world.config("dry", epochs=30)))
    left = set(world.folder.rglob("*")) - set(before)
    assert {path.parts[len(world.folder.parts)] for path in left} <= {"cache"}
    words = [line.partition(":")[0] for line in report.splitlines()]
    assert words == ["a step", "an epoch", "memory", "a checkpoint", "the whole run"]
    assert "4 steps" in report and "for 30 epochs" in report


def test_dry_run_encodes_the_texts_of_its_handful_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an encoder that is trained along nothing is cached: every text more costs its time."""
    encoded: list[int] = []
    original = predict.features_of

    def counted(encoder: Any, texts: Any, **options: Any) -> Any:
        encoded.append(len(texts))
        return original(encoder, texts, **options)

    monkeypatch.setattr(predict, "features_of", counted)
    stepped: list[int] = []
    forward = TunedMGHFT.forward

    def step(self: TunedMGHFT, image: Any, texts: Any, *arguments: Any, **named: Any) -> Any:
        stepped.append(len(texts))
        return forward(self, image, texts, *arguments, **named)

    monkeypatch.setattr(TunedMGHFT, "forward", step)
    tuned = {"tune_text_encoder": True, "standardize_text": True, "eval_batch_size": 2}
    report = format_report(dry_run(world.config("dry", **tuned)))
    assert encoded == [2]
    assert stepped == [6] * 4
    assert "with validation of 9 stickers" in report


def test_dry_run_that_fails_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mghft.train.runs.checkpoints.torch.save", fail)
    with pytest.raises(OSError, match="cannot be written"):
        dry_run(world.config("dry"))
    assert not [path for path in world.folder.iterdir() if "dry" in path.name]


@pytest.fixture(scope="module")
def shown(world: World) -> Path:
    return train(world.config("shown", tracker="tensorboard"))


def test_alignment_is_told_by_stage(shown: Path) -> None:
    for line in metrics(shown):
        parts = [line[f"alignment_loss_stage{stage}"] for stage in (1, 2, 3, 4)]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(line["alignment_loss"], rel=1e-5)


def test_tensorboard_gets_what_metrics_jsonl_has(shown: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Below it lies what accelerate writes of the configuration.
    log = EventAccumulator(str(shown / "tracker" / "mghft")).Reload()
    found = {event.step: event.value for event in log.Scalars("epoch/validation_loss")}
    expected = {line["step"]: line["validation_loss"] for line in metrics(shown)}
    assert found == pytest.approx(expected, rel=1e-6)
    assert "step/alignment_loss_stage2" in log.Tags()["scalars"]


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_missing_tracker_is_named_before_anything_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match=f"tracker: the package {name} is not installed"):
        train(world.config("untracked", tracker=name))
    assert not (world.folder / "untracked").exists()


def test_curves_are_a_picture_in_the_run_folder(shown: Path) -> None:
    with Image.open(shown / "curves.png") as picture:
        assert picture.width > picture.height > 300


def test_card_of_the_best_weights_says_data_configuration_result_and_citation(shown: Path) -> None:
    card = (shown / "best" / "README.md").read_text()
    best = [line for line in metrics(shown) if line["best"]][-1]
    for text in (
        "Coloured squares",
        "- train: 24 stickers",
        f"epoch {best['epoch']} of 2",
        f"| accuracy | {best['validation_accuracy']:.4f} |",
        "| learning rate | 0.002 |",
        "Classes, in index order: cold, warm, green.",
        "Please cite",
    ):
        assert text in card
    assert json.loads((shown / "config.json").read_text())["versions"]["torch"] in card
    MGHFT.from_pretrained(shown / "best")
