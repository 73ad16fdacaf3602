"""Checkpoints and the best weights on disk: written aside, then renamed, so each is whole or absent.

Weights are safetensors; the optimizer is a file of tensors and numbers that torch reads with weights_only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from train.text_tuning import Trained, load_weights

_NAME = re.compile(r"step-\d{8}")


def checkpoint_paths(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folder = run / "checkpoints"
    return sorted(path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))


def save_checkpoint(
    run: Path,
    *,
    model: Trained,
    average: Trained | None,
    optimizer: Any,
    scaler: Any,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Writes `checkpoints/step-…` and keeps the last `keep`; a full disk leaves the earlier ones alone."""
    target = run / "checkpoints" / f"step-{state['step']:08d}"

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        if average is not None:
            average.save_pretrained(folder / "average")
        states = {
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        torch.save(states, folder / "optimizer.pt")
        (folder / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")

    replace_folder(target, write)
    for old in checkpoint_paths(run)[:-keep]:
        shutil.rmtree(old)
    return target


def load_checkpoint(
    path: Path, *, model: Trained, average: Trained | None, optimizer: Any, scaler: Any
) -> dict[str, Any]:
    """Puts a checkpoint back into model, average, optimizer and scaler; returns its state."""
    load_weights(model, path)
    if average is not None:
        load_weights(average, path / "average")
    states = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(states["optimizer"])
    if scaler is not None and states["scaler"] is not None:
        scaler.load_state_dict(states["scaler"])
    state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return state


def replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Calls `write(folder)` on a new folder and gives it the name `target` once all of it is on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir()
        write(fresh)
        for file in fresh.rglob("*"):
            if file.is_file():
                _sync(file)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def mend_folder(target: Path) -> None:
    """Gives the earlier folder its name again, after a kill between the two renames of `replace_folder`."""
    old = target.with_name(f".{target.name}.old")
    if old.is_dir() and not target.exists():
        old.rename(target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
