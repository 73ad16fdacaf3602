"""SIGKILL at any moment: what is resumed is what would have been, bit by bit; nothing half-written counts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from processes import run_apart, steps_seen
from squares import World, metrics

from mghft.train.runs.checkpoints import checkpoint_paths, damage
from mghft.train.runs.folder import RunFolder

# All that has a memory or draws at random: EMA, dropouts, augmentation, copies, half precision.
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
    """Weights, their EMA, and the best ones."""
    last = checkpoint_paths(run)[-1]
    files = [last / "model.safetensors", last / "ema/model.safetensors", run / "best/model.safetensors"]
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


def test_run_killed_again_and_again_ends_as_an_undisturbed_one(undisturbed: World) -> None:
    """An epoch has 4 steps and checkpoints lie at steps 3, 4, 6, 8, 9 and 12; readers are processes."""
    config = undisturbed.config("killed", **EVERYTHING, resume=True, workers=2)
    log = undisturbed.folder / "killed.log"
    assert [run_apart(config, log, "step", step) for step in (1, 5, 8)] == [-9] * 3
    assert run_apart(config, log) == 0
    same_as_undisturbed(undisturbed, "killed")


def test_run_killed_while_files_are_written_ends_as_an_undisturbed_one(undisturbed: World) -> None:
    config = undisturbed.config("writing", **EVERYTHING, resume=True)
    log = undisturbed.folder / "writing.log"
    moments = [("torch.save", 1), ("best", 0), ("metrics", 0), ("rename", 2), ("remove", 1), ("finish", 0)]
    for moment, number in moments:
        assert run_apart(config, log, moment, number) == -9, moment
        paths = checkpoint_paths(config.out)
        assert [damage(path) for path in paths] == [None] * len(paths), moment
    assert run_apart(config, log) == 0
    same_as_undisturbed(undisturbed, "writing")
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
        ("ema/model.safetensors", cut, "ema/model.safetensors is not as it was written"),
        ("optimizer.pt", Path.unlink, "optimizer.pt is missing"),
        ("state.json", cut, "state.json is missing or damaged"),
    ],
)
def test_damaged_checkpoint_is_skipped_with_a_word(
    undisturbed: World, tmp_path: Path, file: str, harm: Any, word: str
) -> None:
    run, said = RunFolder(tmp_path / "run"), []
    shutil.copytree(undisturbed.folder / "undisturbed", run.path)
    harm(run.path / "checkpoints" / "step-00000012" / file)
    found = run.resume_from(said.append)
    assert found is not None and found.name == "step-00000009"
    assert len(said) == 1 and said[0].startswith(f"skipped the checkpoint step-00000012: {word}")
    assert [path.name for path in checkpoint_paths(run.path)] == ["step-00000009"]


def test_run_whose_last_checkpoint_is_damaged_ends_as_an_undisturbed_one(
    undisturbed: World, tmp_path: Path
) -> None:
    config = undisturbed.config("damaged", **EVERYTHING, resume=True)
    log = undisturbed.folder / "damaged.log"
    assert run_apart(config, log, "torch.save", 3) == -9
    cut(config.out / "checkpoints" / "step-00000006" / "optimizer.pt")
    said: list[str] = []
    shutil.copytree(config.out, tmp_path / "copy")
    RunFolder(tmp_path / "copy").resume_from(said.append)
    assert said[0] == "skipped the half-written checkpoint step-00000008"
    assert said[1].startswith("skipped the checkpoint step-00000006: optimizer.pt is not as it was written")
    assert run_apart(config, log) == 0
    assert tensors(config.out) == tensors(undisturbed.folder / "undisturbed")
    assert metrics(config.out) == metrics(undisturbed.folder / "undisturbed")
