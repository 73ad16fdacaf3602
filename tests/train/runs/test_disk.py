"""A full disk, a second writer, a compiled model: the last checkpoint stays and its weights can be loaded."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_apart
from safetensors import SafetensorError, safe_open
from squares import World, metrics

from mghft.model import MGHFT
from mghft.train.distributed.fsdp import Weights
from mghft.train.runs import checkpoints
from mghft.train.runs.checkpoints import checkpoint_paths, damage, load_checkpoint, save_checkpoint
from mghft.train.trainer.state import fresh_state
from mghft.train.trainer.trainer import train


def full(kind: str) -> Any:
    """What torch, safetensors and Python raise on a full disk."""
    return {
        "python": OSError(errno.ENOSPC, "No space left on device"),
        "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device"),
        "torch": RuntimeError("PytorchStreamWriter failed writing file data/1: No space left on device"),
    }[kind]


@pytest.mark.parametrize("kind", ["python", "safetensors", "torch"])
def test_full_disk_keeps_the_checkpoint_before(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config = world.config("run", resume=True, checkpoint_every_steps=3)
    save = torch.save
    calls = []

    def sometimes(states: Any, stream: Any) -> None:
        calls.append(states)
        if len(calls) == 2:
            stream.write(b"half of it")
            raise full(kind)
        save(states, stream)

    monkeypatch.setattr(checkpoints.torch, "save", sometimes)
    with pytest.raises(OSError, match=r"step-00000004 cannot be written .*No space left on device.*--resume"):
        train(config)
    assert [path.name for path in (config.out / "checkpoints").iterdir()] == ["step-00000003"]
    train(config)
    assert len(metrics(config.out)) == 2


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system of 16 MiB."""
    return mount_disk("16m")


def fill(file: Path) -> None:
    """All that is left of the disk."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


def test_real_full_disk_keeps_the_checkpoint_before(world: World, small_disk: Path) -> None:
    out = small_disk / "run"
    config = world.config("run", resume=True, epochs=3).model_copy(update={"out": out})
    assert run_apart(config, world.folder / "log", "step", 5) == -9
    kept = checkpoint_paths(out)
    fill(small_disk / "ballast")
    with pytest.raises(OSError, match=r"cannot be written \(.*\): what was written before is kept"):
        train(config)
    assert checkpoint_paths(out) == kept and damage(kept[-1]) is None
    (small_disk / "ballast").unlink()
    train(config)
    assert [line["epoch"] for line in metrics(out)] == [1, 2, 3]


def test_two_runs_do_not_write_into_one_folder(world: World) -> None:
    config = world.config("run", resume=True)
    holder = (
        "import fcntl, sys\n"
        f"file = open({str(config.out / '.lock')!r}, 'a+')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()"
    )
    config.out.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="another process trains into the run folder"):
        train(config)
    child.communicate()
    assert (train(config) / "summary.json").exists()


def test_compiled_model_is_saved_under_clean_names(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend `eager` goes through all of torch.compile but the code generation."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    config = world.config("run", epochs=1, warmup_epochs=0)
    assert run_apart(config, world.folder / "log") == 0
    last = checkpoint_paths(config.out)[-1]
    with safe_open(last / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert names == set(MGHFT.from_pretrained(config.out / "best").state_dict())
    MGHFT.from_pretrained(last)


def test_state_of_the_gradient_scaler_comes_back(world: World) -> None:
    """fp16 needs a GPU in accelerate; its scaler also exists for the CPU."""
    run = train(world.config("run", epochs=1, warmup_epochs=0))
    model = MGHFT.from_pretrained(run / "best")
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    loss = scaler.scale(sum(value.sum() for value in model.parameters()))
    loss.backward()
    scaler.step(optimizer)
    scaler.update()
    state = replace(fresh_state(4, ["alignment_loss_stage2"]), epoch=24, step=99).saved()
    saved = save_checkpoint(
        run,
        model=model,
        ema=None,
        optimizer=optimizer.state_dict(),
        scaler=scaler,
        state=state,
        keep=1,
    )
    fresh = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    loaded = load_checkpoint(saved, weights=Weights(model), ema=None, optimizer=optimizer, scaler=fresh)
    assert loaded == state and loaded["step"] == 99
    assert fresh.state_dict() == scaler.state_dict() and fresh.get_scale() == 16.0
