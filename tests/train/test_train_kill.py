"""SIGKILL at any moment: what is resumed is what would have been, bit by bit, and nothing half-written counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import run_apart, steps_seen
from squares import World, metrics

from train.checkpoints import checkpoint_paths, damage
from train.loop import train

# All that has a memory or draws at random: mean of the weights, dropouts, augmentation, copies, half precision.
EVERYTHING: dict[str, Any] = {
    "epochs": 3,
    "checkpoint_every_steps": 3,
    "repeats": 2,
    "ema_decay": 0.9,
    "view_dropout": 0.2,
    "clip_grad": 1.0,
    "mixed_precision": "bf16",
    "augmentation": {"color_jitter": 0.3, "force_color_jitter": True, "re_prob": 0.2},
}


def tensors(run: Path) -> list[bytes]:
    """Weights, their mean, and the best ones."""
    last = checkpoint_paths(run)[-1]
    files = [last / "model.safetensors", last / "average/model.safetensors", run / "best/model.safetensors"]
    return [file.read_bytes() for file in files if file.exists()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("kill"))
    assert run_apart(world.config("undisturbed", **EVERYTHING), world.folder / "undisturbed.log") == 0
    return world


def same_as_undisturbed(world: World, name: str) -> None:
    run, other = world.folder / name, world.folder / "undisturbed"
    assert tensors(run) == tensors(other)
    assert metrics(run) == metrics(other)
    assert steps_seen(world.folder / f"{name}.log") == steps_seen(world.folder / "undisturbed.log")
    assert (run / "summary.json").read_bytes() == (other / "summary.json").read_bytes()


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 7), (5, 6), (8, 11)])
def test_run_killed_twice_ends_as_an_undisturbed_one(undisturbed: World, first: int, second: int) -> None:
    """An epoch has 4 steps and checkpoints lie at steps 3, 4, 6, 8, 9 and 12; readers are processes."""
    name = f"killed-{first}-{second}"
    config = undisturbed.config(name, **EVERYTHING, resume=True, workers=2)
    log = undisturbed.folder / f"{name}.log"
    assert [run_apart(config, log, "step", step) for step in (first, second)] == [-9, -9]
    assert run_apart(config, log) == 0
    same_as_undisturbed(undisturbed, name)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("torch.save", 1),
        ("rename", 3),
        ("rename", 4),
        ("rename", 6),
        ("remove", 1),
        ("metrics", 1),
        ("best", 1),
        ("finish", 0),
    ],
)
def test_kill_while_files_are_written(undisturbed: World, moment: str, number: int) -> None:
    name = f"killed-{moment}-{number}"
    config = undisturbed.config(name, **EVERYTHING, resume=True)
    log = undisturbed.folder / f"{name}.log"
    assert run_apart(config, log, moment, number) == -9
    assert [damage(path) for path in checkpoint_paths(config.out)] == [None] * len(
        checkpoint_paths(config.out)
    )
    assert run_apart(config, log) == 0
    same_as_undisturbed(undisturbed, name)
    names = [path.name for path in (config.out / "checkpoints").iterdir()]
    assert sorted(names) == ["step-00000009", "step-00000012"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "harm", "word"),
    [
        ("model.safetensors", flip, "model.safetensors is not as it was written"),
        ("average/model.safetensors", cut, "average/model.safetensors is not as it was written"),
        ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
        ("state.json", cut, "state.json is missing or damaged"),
    ],
)
def test_damaged_checkpoint_is_skipped_with_a_word(
    undisturbed: World, capsys: pytest.CaptureFixture[str], file: str, harm: Any, word: str
) -> None:
    name = f"damaged-{file.replace('/', '-')}"
    config = undisturbed.config(name, **EVERYTHING, resume=True, keep_checkpoints=1)
    config = config.model_copy(update={"keep_checkpoints": 2})
    log = undisturbed.folder / f"{name}.log"
    assert run_apart(config, log, "step", 7) == -9
    harm(config.out / "checkpoints" / "step-00000006" / file)
    train(config.model_copy(update={"progress": True, "keep_checkpoints": 1}))
    assert f"skipped the checkpoint step-00000006: {word}" in capsys.readouterr().out
    assert tensors(config.out) == tensors(undisturbed.folder / "undisturbed")
    assert metrics(config.out) == metrics(undisturbed.folder / "undisturbed")


def test_half_written_checkpoint_is_skipped_with_a_word(
    undisturbed: World, capsys: pytest.CaptureFixture[str]
) -> None:
    config = undisturbed.config("half", **EVERYTHING, resume=True)
    assert run_apart(config, undisturbed.folder / "half.log", "torch.save", 1) == -9
    train(config.model_copy(update={"progress": True}))
    assert "skipped the half-written checkpoint step-00000004" in capsys.readouterr().out
