"""TensorBoard, Weights & Biases or trackio beside metrics.jsonl, through accelerate; off unless asked for."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Steps between two points of a step's losses; epochs are all logged.
EVERY = 10
_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}


def check_tracker(name: str | None) -> None:
    """
    Raises:
        ValueError: the tracker's package is not installed.
    """
    if name is not None and not any(importlib.util.find_spec(package) for package in _PACKAGES[name]):
        raise ValueError(f"tracker: the package {name} is not installed: pip install {name}, or leave it out")


def tracker_options(name: str | None, folder: Path) -> dict[str, Any]:
    """Arguments of `Accelerator`; what the trackers write lies in `folder` and stays on this machine."""
    if name is None:
        return {}
    # Whoever wants these services online says so in the environment.
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    return {"log_with": name, "project_dir": str(folder)}


def start_tracker(accelerator: Any, name: str | None, folder: Path, config: Mapping[str, Any]) -> None:
    """Opens the tracker in the main process, with the configuration's plain values."""
    if name is None:
        return
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
    plain = {
        key: value for key, value in _flat(config).items() if isinstance(value, int | float | str | bool)
    }
    options = {"wandb": {"dir": str(folder)}} if name == "wandb" else {}
    accelerator.init_trackers("mghft", config=plain, init_kwargs=options)


def log_step(accelerator: Any, name: str | None, losses: Mapping[str, float], rate: float, step: int) -> None:
    """Losses of one step, now and then."""
    if name is not None and step % EVERY == 0:
        values = {f"step/{key}": value for key, value in losses.items()}
        accelerator.log({**values, "step/lr": rate}, step=step)


def log_epoch(accelerator: Any, name: str | None, line: Mapping[str, Any]) -> None:
    """A line of metrics.jsonl."""
    if name is not None:
        values = {f"epoch/{key}": float(value) for key, value in line.items() if key != "step"}
        accelerator.log(values, step=line["step"])


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
