"""Checkpoints and the best weights on disk: written aside, then renamed, so each is whole or absent.

Weights are safetensors; the optimizer is a file of tensors and numbers that torch reads with weights_only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mghft.model.joint import Trained
from mghft.train.distributed.fsdp import Weights, load_full_state

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
    optimizer: dict[str, Any],
    scaler: Any,
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Writes `checkpoints/step-…` and keeps the last `keep`; a full disk leaves the earlier ones alone.

    Args:
        optimizer: its state, with whole tensors.

    Raises:
        OSError: it cannot be written; one sentence.
    """
    target = run / "checkpoints" / f"step-{state['step']:08d}"

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        if average is not None:
            average.save_pretrained(folder / "average")
        states = {
            "optimizer": optimizer,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        with (folder / "optimizer.pt").open("wb") as stream:
            torch.save(states, stream)
        content = {**state, "files": _digests(folder)}
        (folder / "state.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    with disk_errors_named(f"the checkpoint {target}"):
        replace_folder(target, write)
    for old in checkpoint_paths(run)[:-keep]:
        remove_folder(old)
    return target


def load_checkpoint(
    path: Path, *, weights: Weights, average: Weights | None, optimizer: Any, scaler: Any
) -> dict[str, Any]:
    """Puts a checkpoint back into weights, average, optimizer and scaler; returns its state.

    Raises:
        ValueError: it does not fit, after a change of the configuration that was allowed.
    """
    states = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    try:
        weights.load(path)
        if average is not None:
            # A running mean that was switched on since begins with the weights.
            average.load(path / "average" if (path / "average").is_dir() else path)
        load_full_state(optimizer, states["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {path} does not fit the changed configuration "
            f"({' '.join(str(error).split())[:200]}): start a new run from its weights with --init-from"
        ) from None
    if scaler is not None and states["scaler"]:
        scaler.load_state_dict(states["scaler"])
    state = _read_state(path)
    del state["files"]
    return state


def _read_state(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return content


def damage(path: Path) -> str | None:
    """What is wrong with the files of a checkpoint, None when they are those that were written."""
    try:
        expected: dict[str, str] = _read_state(path)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return "state.json is missing or damaged"
    found = _digests(path)
    for name, digest in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != digest:
            return f"{name} is not as it was written"
    return None


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that are loaded, by their path in the folder."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".pt"):
            with path.open("rb") as stream:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(
                    stream, "sha256"
                ).hexdigest()
    return digests


def replace_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Calls `write(folder)` on a new folder and gives it the name `target` once all of it is on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir()
        write(fresh)
        for path in [*fresh.rglob("*"), fresh]:
            _sync(path)
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def remove_folder(target: Path) -> None:
    """Removes a folder; a kill in between leaves no part of it under its name."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def mend_folder(target: Path) -> None:
    """Gives the earlier folder its name again, after a kill between the two renames of `replace_folder`."""
    old = target.with_name(f".{target.name}.old")
    if old.is_dir() and not target.exists():
        old.rename(target)


@contextmanager
def disk_errors_named(what: str) -> Iterator[None]:
    """Turns what the writers of files raise on a full or broken disk into one sentence.

    Raises:
        OSError: with the sentence; safetensors and torch have errors of their own for it.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
        raise OSError(
            f"{what} cannot be written ({reason[:200]}): what was written before is kept; free some space "
            "and go on with --resume"
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
