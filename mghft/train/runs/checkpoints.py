"""Checkpoints of a run: written aside, then renamed, so each is whole or absent.

Weights are safetensors; the optimizer is a file of tensors and numbers that torch reads with weights_only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mghft.model.joint import Trained
from mghft.pipeline.files import remove_folder, replace_folder, write_json
from mghft.pipeline.text import one_line
from mghft.train.distributed.fsdp import Weights, load_full_state
from mghft.train.runs.records import SavedState

_NAME = re.compile(r"step-\d{8}")
# Folder of the EMA weights in a checkpoint, and its name in runs of before.
_EMA, _OLD_EMA = "ema", "average"


def checkpoint_paths(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    folder = run / "checkpoints"
    return sorted(path for path in folder.glob("step-*") if _NAME.fullmatch(path.name))


def save_checkpoint(
    run: Path,
    *,
    model: Trained,
    ema: Trained | None,
    optimizer: dict[str, Any],
    scaler: Any,
    state: SavedState,
    keep: int,
) -> Path:
    """Write `checkpoints/step-…` and keep the last `keep`; a full disk leaves the earlier ones alone.

    Args:
        optimizer: its state, with full tensors.

    Raises:
        OSError: it cannot be written; one sentence.
    """
    target = run / "checkpoints" / f"step-{state['step']:08d}"

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        if ema is not None:
            ema.save_pretrained(folder / _EMA)
        states = {"optimizer": optimizer, "scaler": None if scaler is None else scaler.state_dict()}
        with (folder / "optimizer.pt").open("wb") as file:
            torch.save(states, file)
        write_json(folder / "state.json", {**state, "files": _digests(folder)})

    with disk_errors_named(f"the checkpoint {target}"):
        replace_folder(target, write)
    for old in checkpoint_paths(run)[:-keep]:
        remove_folder(old)
    return target


def load_checkpoint(
    path: Path, *, weights: Weights, ema: Weights | None, optimizer: Any, scaler: Any
) -> SavedState:
    """Load a checkpoint into weights, EMA, optimizer and scaler; return its state.

    Raises:
        ValueError: it does not fit, after a change of the configuration that was allowed.
    """
    states = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    try:
        weights.load(path)
        if ema is not None:
            ema.load(_ema_folder(path))
        load_full_state(optimizer, states["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {path} does not fit the changed configuration ({one_line(error, 200)}): "
            "start a new run from its weights with --init-from"
        ) from None
    if scaler is not None and states["scaler"]:
        scaler.load_state_dict(states["scaler"])
    return _read_state(path)[0]


def damage(path: Path) -> str | None:
    """Return what is wrong with the files of a checkpoint, None when they are those that were written."""
    try:
        _, expected = _read_state(path)
    except (OSError, ValueError, KeyError, TypeError):
        return "state.json is missing or damaged"
    digests = _digests(path)
    for name, digest in expected.items():
        if name not in digests:
            return f"{name} is missing"
        if digests[name] != digest:
            return f"{name} is not as it was written"
    return None


@contextmanager
def disk_errors_named(what: str) -> Iterator[None]:
    """Turn what the writers of files raise on a full or broken disk into one sentence.

    Raises:
        OSError: with the sentence; safetensors and torch have errors of their own for it.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error, 200)
        raise OSError(
            f"{what} cannot be written ({reason}): what was written before is kept; free some space "
            "and go on with --resume"
        ) from error


def _ema_folder(path: Path) -> Path:
    """Return the folder of the EMA; an EMA that was switched on since begins with the weights themselves."""
    return next((path / name for name in (_EMA, _OLD_EMA) if (path / name).is_dir()), path)


def _read_state(path: Path) -> tuple[SavedState, dict[str, str]]:
    """Return the state and the digests of the checkpoint's files."""
    content: Any = json.loads((path / "state.json").read_text(encoding="utf-8"))
    return content, content.pop("files")


def _digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that are loaded, by their path in the folder."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".pt"):
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
