"""FSDP on two processes: numbers and files of a run that is not sharded, a part of the weights in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_apart, run_together
from safetensors.torch import load_file
from squares import World, metrics
from timm.optim import param_groups_weight_decay

from mghft.model import MGHFT
from mghft.train.config import TrainConfig
from mghft.train.distributed.fsdp import fsdp_plugin
from mghft.train.runs.checkpoints import checkpoint_paths

SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    # What `accelerate launch` sets unless told otherwise.
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
# All that may go wrong with shards: dropouts, EMA, clipping, pairs across processes.
EVERYTHING: dict[str, Any] = {
    "batch_size": 6,
    "gather_negatives": True,
    "standardize_text": True,
    "ema_decay": 0.9,
    "clip_grad": 1.0,
    "mixed_precision": "no",
    "keep_checkpoints": 99,
    "checkpoint_every_steps": 1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("sharded"))
    world.describe(failed=frozenset({"train/01.png", "validation/02.png"}))
    return world


def together(world: World, config: TrainConfig, *moment: Any, sharded: bool) -> list[int]:
    folder = world.folder / f"{config.out.name}.logs"
    folder.mkdir(exist_ok=True)
    return run_together(config, folder, *moment, **(SHARDED if sharded else {}))


@pytest.fixture(scope="module")
def whole(world: World) -> Path:
    """Two processes by DistributedDataParallel."""
    config = world.config("whole", **EVERYTHING)
    assert together(world, config, sharded=False) == [0, 0]
    return config.out


@pytest.fixture(scope="module")
def shards(world: World, whole: Path) -> Path:
    config = world.config("shards", **EVERYTHING)
    assert together(world, config, sharded=True) == [0, 0]
    return config.out


def assert_same_run(ours: Path, theirs: Path, tolerance: float = 1e-3) -> None:
    """Compare losses, weights and optimizer; AdamW divides by small gradients, so weights vary most."""
    for mine, other in zip(metrics(ours), metrics(theirs), strict=True):
        assert mine == pytest.approx(other, rel=0.01 * tolerance)
    mine, other = (checkpoint_paths(run)[-1] for run in (ours, theirs))
    for name in ("model.safetensors", "ema/model.safetensors"):
        assert_same(load_file(mine / name), load_file(other / name), tolerance)
    files = [torch.load(folder / "optimizer.pt", weights_only=True)["optimizer"] for folder in (mine, other)]
    assert files[0]["param_groups"] == files[1]["param_groups"]
    names = optimized_parameters(mine)
    states = [{names[number]: found for number, found in file["state"].items()} for file in files]
    assert len(states[0]) == len(names)
    for field in ("step", "exp_avg", "exp_avg_sq"):
        assert_same(*({name: state[field] for name, state in found.items()} for found in states), tolerance)


def optimized_parameters(folder: Path) -> list[str]:
    """Return the names of a model's parameters in the order of its optimizer."""
    model = MGHFT.from_pretrained(folder)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = param_groups_weight_decay(model, 0.05)
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def assert_same(mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> None:
    """Compare every tensor in its own scale: the last bit of a sum is the processor's choice."""
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        theirs = other[name]
        if name.endswith("key.bias"):
            # It moves all scores of a query alike, which softmax takes away: its gradient is nothing but
            # rounding, of which AdamW makes steps of full length.
            continue
        if name.endswith("key_value.bias") and value.ndim:
            value, theirs = value.chunk(2)[1], theirs.chunk(2)[1]
        scale = float(theirs.abs().max())
        difference = float((value - theirs).abs().max())
        assert difference <= tolerance * scale, f"{name} differs by {difference / scale} of its scale"


def test_sharded_run_has_the_losses_weights_and_optimizer_of_a_whole_one(shards: Path, whole: Path) -> None:
    assert [line["step"] for line in metrics(shards)] == [2, 4]
    assert_same_run(shards, whole)


def test_sharded_run_in_half_precision_is_a_whole_one_but_for_its_rounding(world: World) -> None:
    half = {**EVERYTHING, "mixed_precision": "bf16"}
    for name, sharded in (("half-whole", False), ("half-shards", True)):
        assert together(world, world.config(name, **half), sharded=sharded) == [0, 0]
    # bfloat16 keeps 8 bits: a sum that ends in another last bit may be rounded by 2^-8 the other way.
    assert_same_run(world.folder / "half-shards", world.folder / "half-whole", tolerance=0.1)


def test_every_process_holds_a_part_of_the_weights(world: World, shards: Path, whole: Path) -> None:
    held = [int((world.folder / "shards.logs" / f"held-{rank}").read_text()) for rank in range(2)]
    everything = [int((world.folder / "whole.logs" / f"held-{rank}").read_text()) for rank in range(2)]
    assert everything[0] == everything[1] == sum(held)
    # Rows are divided; the position embeddings, much of so small a model, have one, which the first has.
    assert 0.35 < held[1] / sum(held) < 0.5


def test_weights_of_a_sharded_run_are_those_of_a_model_alone(shards: Path) -> None:
    for folder in (shards / "best", checkpoint_paths(shards)[-1]):
        model = MGHFT.from_pretrained(folder)
        assert model.config.num_classes == 3
        assert load_file(folder / "model.safetensors").keys() == model.state_dict().keys()


def test_only_the_first_process_of_a_sharded_run_writes(world: World, shards: Path) -> None:
    written = [(world.folder / "shards.logs" / f"written-{rank}").read_text() for rank in range(2)]
    assert "model.safetensors" in written[0]
    assert written[1] == ""


def test_killed_sharded_run_resumes_to_the_same_bytes(world: World, shards: Path) -> None:
    config = world.config("broken", **EVERYTHING, resume=True)
    first, second = together(world, config, "step", 3, sharded=True)
    assert (first, second) == (1, -9)
    assert "ProcessLostError" in (world.folder / "broken.logs" / "error-0").read_text()
    assert together(world, config, sharded=True) == [0, 0]
    assert metrics(config.out) == metrics(shards)
    for name in ("model.safetensors", "ema/model.safetensors"):
        mine, other = (checkpoint_paths(run)[-1] / name for run in (config.out, shards))
        assert mine.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("sharded_first", [True, False])
def test_run_goes_on_in_shards_or_whole_as_it_likes(world: World, whole: Path, sharded_first: bool) -> None:
    config = world.config(f"changing-{sharded_first}", **EVERYTHING, resume=True)
    assert together(world, config, "step", 3, sharded=sharded_first)[1] == -9
    assert together(world, config, sharded=not sharded_first) == [0, 0]
    assert_same_run(config.out, whole)


def test_sharded_run_goes_on_with_one_process_when_that_is_allowed(world: World, shards: Path) -> None:
    changes = {"epochs": 3, "batch_size": 12, "resume": True}
    allowed = ("processes", "batch_size", "epochs")
    config = world.config("shards", **{**EVERYTHING, **changes}, allow_changes=allowed)
    assert run_apart(config, world.folder / "one.log") == 0
    assert [line["epoch"] for line in metrics(config.out)] == [1, 2, 3]


def test_text_encoder_is_tuned_in_shards_too(world: World) -> None:
    tuned = {"batch_size": 6, "tune_text_encoder": True}
    for name, sharded in (("tuned-whole", False), ("tuned-shards", True)):
        assert together(world, world.config(name, **tuned), sharded=sharded) == [0, 0]
    mine, other = (checkpoint_paths(world.folder / f"tuned-{kind}")[-1] for kind in ("shards", "whole"))
    for file in ("model.safetensors", "text_encoder/model.safetensors"):
        assert_same(load_file(mine / file), load_file(other / file), tolerance=1e-3)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"FSDP_VERSION": "1"}, "version 1 of FSDP, which this trainer does not do: set fsdp_version: 2"),
        (
            {"FSDP_OFFLOAD_PARAMS": "true"},
            "fsdp_offload_params, which this trainer does not do: leave",
        ),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "gradients are of other dropouts than its losses"),
        (
            {"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"},
            "fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP or NO_WRAP",
        ),
    ],
)
def test_what_is_not_done_in_shards_is_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str], sentence: str
) -> None:
    for name, value in {**SHARDED, **wanted}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=sentence):
        fsdp_plugin()
