"""A run that is killed, stopped or repeated gives what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from squares import World, metrics
from torch import nn

from mghft.pipeline.files import replace_folder
from mghft.train.config import TrainConfig
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer import loop
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.optimizer import build_optimizer
from mghft.train.trainer.trainer import train

CHILD = """
import json, sys
from mghft.train.config import build_config
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train
kill_at = int(sys.argv[2])
step = Trainer.train_step
def train_step(self, images, indices):
    if self.state.step == kill_at:
        print("here", flush=True)
        import time; time.sleep(60)
    return step(self, images, indices)
Trainer.train_step = train_step
train(build_config(json.loads(sys.argv[1])))
"""


def kill_at_step(config: TrainConfig, step: int) -> None:
    """Trains in a process of its own that is killed before the given step."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, config.model_dump_json(), str(step)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"here\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


def weights(run: Path) -> tuple[bytes, bytes]:
    last = checkpoint_paths(run)[-1]
    return (last / "model.safetensors").read_bytes(), (run / "best" / "model.safetensors").read_bytes()


def test_killed_run_resumes_to_the_same_weights_and_metrics(world: World) -> None:
    same = {"epochs": 3, "checkpoint_every_steps": 3, "repeats": 2, "ema_decay": 0.9, "view_dropout": 0.2}
    undisturbed = train(world.config("undisturbed", **same))
    killed = world.config("killed", **same, resume=True)
    kill_at_step(killed, 5)
    assert [path.name for path in checkpoint_paths(killed.out)] == ["step-00000003", "step-00000004"]
    train(killed)
    assert weights(killed.out) == weights(undisturbed)
    assert metrics(killed.out) == metrics(undisturbed)


def test_epoch_cut_in_the_middle_is_resumed_in_the_middle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(world.config("undisturbed"))
    config = world.config("stopped", resume=True)
    original = Trainer.train_step
    seen: list[int] = []

    def stop_after_two(self: Trainer, images: object, indices: object) -> dict[str, float]:
        seen.append(self.state.step)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, images, indices)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train_step", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    train(config)
    assert seen == list(range(8))
    assert weights(config.out) == weights(undisturbed)
    assert metrics(config.out) == metrics(undisturbed)


def test_checkpoint_with_the_earlier_name_of_the_ema_resumes_to_the_same_weights(world: World) -> None:
    same = {"epochs": 3, "checkpoint_every_steps": 3, "ema_decay": 0.9}
    undisturbed = train(world.config("undisturbed", **same))
    config = world.config("before", **same, resume=True)
    kill_at_step(config, 7)
    last = checkpoint_paths(config.out)[-1]
    state = json.loads((last / "state.json").read_text())
    (last / "ema").rename(last / "average")
    state["files"]["average/model.safetensors"] = state["files"].pop("ema/model.safetensors")
    (last / "state.json").write_text(json.dumps(state))
    train(config)
    assert weights(config.out) == weights(undisturbed)
    ours, theirs = (checkpoint_paths(run)[-1] / "ema/model.safetensors" for run in (config.out, undisturbed))
    assert ours.read_bytes() == theirs.read_bytes()
    assert metrics(config.out) == metrics(undisturbed)


def test_run_begun_before_the_fused_optimizer_goes_on_as_it_began(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfused(model: nn.Module, _device: torch.device, **options: float) -> torch.optim.AdamW:
        optimizer = build_optimizer(model, torch.device("cuda"), **options)
        assert all(group["fused"] is None for group in optimizer.param_groups)
        return optimizer

    config = world.config("run", resume=True)
    original = Trainer.train_step

    def stop_after_five(self: Trainer, images: object, indices: object) -> dict[str, float]:
        if self.state.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, images, indices)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "build_optimizer", unfused)
        undisturbed = train(world.config("undisturbed"))
        patch.setattr(Trainer, "train_step", stop_after_five)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    train(config)
    assert weights(config.out) == weights(undisturbed)
    assert metrics(config.out) == metrics(undisturbed)
    new = train(world.config("new"))
    for run, fused in ((config.out, None), (new, True)):
        states = torch.load(checkpoint_paths(run)[-1] / "optimizer.pt", weights_only=True)
        assert {group["fused"] for group in states["optimizer"]["param_groups"]} == {fused}


def test_workers_do_not_change_the_run(world: World) -> None:
    alone, helped = train(world.config("alone")), train(world.config("helped", workers=2))
    assert weights(alone) == weights(helped)
    assert metrics(alone) == metrics(helped)


def test_finished_run_is_left_as_it_is(world: World) -> None:
    config = world.config("done", epochs=2)
    train(config)
    before = {path: path.stat().st_mtime_ns for path in config.out.rglob("*")}
    time.sleep(0.01)
    train(config)
    assert {path: path.stat().st_mtime_ns for path in config.out.rglob("*")} == before


def test_folder_of_another_configuration_is_refused_with_the_fields(world: World) -> None:
    train(world.config("run"))
    with pytest.raises(ValueError, match=r"differ in augmentation.hflip, lr: choose another --out"):
        train(world.config("run", lr=1e-4, augmentation={"hflip": 0.1}, resume=True))


def test_changed_descriptions_are_another_run(world: World) -> None:
    train(world.config("run"))
    world.describe(failed=frozenset({"train/00.png"}))
    with pytest.raises(ValueError, match="differ in data_fingerprint"):
        train(world.config("run", resume=True))


def test_unfinished_run_is_not_resumed_unasked(world: World) -> None:
    config = world.config("run")
    train(config)
    (config.out / "summary.json").unlink()
    with pytest.raises(ValueError, match="add --resume"):
        train(config)


def test_folder_with_other_files_is_refused(world: World) -> None:
    (world.folder / "mine").mkdir()
    (world.folder / "mine" / "thesis.txt").write_text("text")
    with pytest.raises(ValueError, match="is not empty and is not a run folder of 'mghft train'"):
        train(world.config("mine"))


def test_failed_write_leaves_the_earlier_folder(tmp_path: Path) -> None:
    replace_folder(tmp_path / "best", lambda folder: (folder / "a").write_text("old") and None)

    def fail(folder: Path) -> None:
        (folder / "a").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        replace_folder(tmp_path / "best", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert (tmp_path / "best" / "a").read_text() == "old"


def test_checkpoint_is_loadable_without_pickled_code(world: World) -> None:
    run = train(world.config("run"))
    last = checkpoint_paths(run)[-1]
    assert {path.name for path in last.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "optimizer.pt",
        "state.json",
    }
    assert json.loads((last / "state.json").read_text())["epoch"] == 2
