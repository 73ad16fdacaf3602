"""Two processes train as one would: the same losses and gradients, every sticker judged once, one writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_together
from safetensors.torch import load_file
from squares import World, metrics

from mghft.model import MGHFT
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.trainer import train

# Nothing that is drawn per process: what is left must not depend on how many there are.
SAME: dict[str, Any] = {
    "epochs": 2,
    "gather_negatives": True,
    "standardize_text": True,
    "model": {
        "preset": "tiny",
        "image_size": 32,
        "embed_dims": [8, 16, 40, 64],
        "depths": [1, 1, 1, 1],
        "drop_path": 0.0,
        "fusion_dropout": 0.0,
    },
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Some stickers lack a description, so the processes have unequal numbers of pairs."""
    world = World(tmp_path_factory.mktemp("together"))
    world.describe(failed=frozenset({"train/01.png", "train/07.png", "train/08.png", "validation/02.png"}))
    return world


@pytest.fixture(scope="module")
def alone(world: World) -> Path:
    """One process with the batch of two."""
    return train(world.config("alone", batch_size=12, **SAME))


@pytest.fixture(scope="module")
def two(world: World) -> Path:
    config = world.config("two", batch_size=6, **SAME)
    (world.folder / "two.logs").mkdir()
    assert run_together(config, world.folder / "two.logs") == [0, 0]
    return config.out


def momenta(run: Path) -> list[torch.Tensor]:
    """Adam's mean gradient of every parameter: linear in the gradients, where its step is not."""
    states = torch.load(checkpoint_paths(run)[-1] / "optimizer.pt", weights_only=True)
    return [state["exp_avg"] for state in states["optimizer"]["state"].values()]


def test_two_processes_have_the_loss_curve_of_one_with_their_batch(two: Path, alone: Path) -> None:
    assert len(metrics(two)) == 2
    for ours, theirs in zip(metrics(two), metrics(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4)


def test_two_processes_have_the_gradients_of_one_with_their_batch(two: Path, alone: Path) -> None:
    ours, theirs = momenta(two), momenta(alone)
    assert len(ours) == len(theirs) > 50
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=5e-3, atol=2e-5)


def test_weights_of_two_processes_have_clean_names(two: Path, alone: Path) -> None:
    mine, other = (load_file(checkpoint_paths(path)[-1] / "model.safetensors") for path in (two, alone))
    assert mine.keys() == other.keys()
    assert not [name for name in mine if "module." in name or "_orig_mod" in name]
    assert MGHFT.from_pretrained(two / "best").config.num_classes == 3


def test_without_gathering_pairs_are_formed_inside_a_process(world: World, alone: Path) -> None:
    config = world.config("apart", batch_size=6, **{**SAME, "gather_negatives": False, "epochs": 2})
    (world.folder / "apart.logs").mkdir()
    assert run_together(config, world.folder / "apart.logs") == [0, 0]
    ours, theirs = metrics(config.out)[0], metrics(alone)[0]
    assert ours["classification_loss"] == pytest.approx(theirs["classification_loss"], rel=0.05)
    # Twice 6 pairs are easier to tell apart than 12.
    assert ours["alignment_loss"] < 0.9 * theirs["alignment_loss"]


def test_every_sticker_is_judged_once_though_their_number_is_odd(
    world: World, two: Path, alone: Path
) -> None:
    """`predict` itself refuses a sticker judged twice; 9 of 9 are in the means of both."""
    for mine, other in zip(metrics(two), metrics(alone), strict=True):
        assert (mine["validation_accuracy"] * 9) % 1 == pytest.approx(0, abs=1e-9)
        assert mine["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-4)


def test_only_the_first_process_writes(world: World, two: Path) -> None:
    written = [(world.folder / "two.logs" / f"written-{rank}").read_text() for rank in range(2)]
    assert "metrics.jsonl" in written[0] and "model.safetensors" in written[0]
    assert written[1] == ""


def test_two_processes_of_which_one_dies_resume_to_the_same_weights(world: World, two: Path) -> None:
    config = world.config("broken", batch_size=6, **SAME, resume=True, checkpoint_every_steps=1)
    folder = world.folder / "broken.logs"
    folder.mkdir()
    first, second = run_together(config, folder, "step", 3)
    assert second == -9
    assert first == 1
    assert "ProcessLostError" in (folder / "error-0").read_text()
    assert run_together(config, folder) == [0, 0]
    assert metrics(config.out) == metrics(two)
    files = [checkpoint_paths(run)[-1] / "model.safetensors" for run in (config.out, two)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_run_of_two_processes_does_not_go_on_with_one_unasked(world: World, two: Path) -> None:
    with pytest.raises(ValueError, match="differ in batch_size, processes"):
        train(world.config("two", batch_size=12, **SAME, resume=True))


def test_run_of_two_processes_goes_on_with_one_when_that_is_allowed(world: World, two: Path) -> None:
    changes = {"epochs": 3, "batch_size": 12, "resume": True}
    allowed = ("processes", "batch_size", "epochs")
    run = train(world.config("two", **{**SAME, **changes}, allow_changes=allowed))
    assert [line["epoch"] for line in metrics(run)] == [1, 2, 3]
    recorded = json.loads((run / "config.json").read_text())["changes"]
    assert recorded[-1]["fields"]["processes"] == {"from": 2, "to": 1}
