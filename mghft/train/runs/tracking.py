"""TensorBoard, Weights & Biases or trackio beside metrics.jsonl, through accelerate; off unless asked for.

What they write lies in the run folder's `tracker/`; nothing is sent. A tracker that fails ends no training.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

# Steps between two points of a step's losses; epochs are all logged.
EVERY = 10
PROJECT = "mghft"
_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
# What this module itself put into the environment: a second run of the process may replace it.
_put: dict[str, str] = {}


def check_tracker(name: str | None) -> None:
    """
    Raises:
        ValueError: the tracker's package is not installed.
    """
    if name is not None and not any(importlib.util.find_spec(package) for package in _PACKAGES[name]):
        raise ValueError(f"tracker: the package {name} is not installed: pip install {name}, or leave it out")


def tracker_options(name: str | None, folder: Path) -> dict[str, Any]:
    """Arguments of `Accelerator`; what the trackers write lies in `folder` and stays on this machine.

    Raises:
        ValueError: trackio already writes into another folder.
    """
    if name is None:
        return {}
    folder = folder.absolute()
    # Whoever wants anything else, being online above all, says so in the environment.
    if name == "wandb":
        _default("WANDB_MODE", "offline")
        # Online, the address of the run is worth its two lines.
        _default("WANDB_SILENT" if os.environ["WANDB_MODE"] == "offline" else "WANDB_QUIET", "true")
        # It would copy the progress bar, and the uncommitted changes of whatever repository one stands in.
        _default("WANDB_CONSOLE", "off")
        _default("WANDB_DISABLE_GIT", "true")
        _default("WANDB_DISABLE_CODE", "true")
        _default("WANDB_ERROR_REPORTING", "false")
        _default("WANDB_CACHE_DIR", str(folder / "wandb-cache"))
    if name == "trackio":
        _default("TRACKIO_DIR", str(folder / "trackio"))
        _default("GRADIO_ANALYTICS_ENABLED", "False")
        _default("HF_HUB_DISABLE_TELEMETRY", "1")
        _check_trackio_folder()
    return {"log_with": name, "project_dir": str(folder)}


@contextmanager
def tracked(
    accelerator: Any, name: str | None, folder: Path, config: Mapping[str, Any], *, step: int
) -> Iterator[None]:
    """Keeps the tracker open in the main process; however the block ends, it is closed and told how.

    Args:
        config: becomes flat; what is no plain value becomes its JSON text.
        step: steps that the checkpoint holds; points of later steps will be logged again.

    Raises:
        ValueError: the tracker cannot be started.
    """
    if name is None or not accelerator.is_main_process:
        yield
        return
    try:
        _start(accelerator, name, folder.absolute(), config, step)
    except Exception as error:
        raise ValueError(
            f"tracker: {name} could not be started ({_one_line(error)}): "
            "set it right or leave out --tracker, and go on with --resume"
        ) from error
    code = 0
    try:
        yield
    except BaseException as error:
        # W&B's own number for Ctrl-C, by which it shows the run as stopped and not as failed.
        code = 255 if isinstance(error, KeyboardInterrupt) else 1
        raise
    finally:
        _finish(accelerator, name, code)


def log_step(accelerator: Any, name: str | None, losses: Mapping[str, float], rate: float, step: int) -> None:
    """Losses of one step, now and then, where that step's update is done: at `step` + 1."""
    if name is not None and step % EVERY == 0:
        values = {f"step/{key}": value for key, value in losses.items()}
        _log(accelerator, name, {**values, "step/lr": rate}, step + 1)


def log_epoch(accelerator: Any, name: str | None, line: Mapping[str, Any]) -> None:
    """A line of metrics.jsonl."""
    if name is not None:
        values = {f"epoch/{key}": float(value) for key, value in line.items() if key != "step"}
        _log(accelerator, name, values, line["step"])


def _start(accelerator: Any, name: str, folder: Path, config: Mapping[str, Any], step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {}
    if name == "tensorboard":
        # TensorBoard hides the points of a killed run from here on.
        options = {"purge_step": step + 1}
    else:
        identity = _identity(folder)
        run = f"{folder.parent.name}-{identity}"
        if name == "wandb":
            options = {
                "dir": str(folder),
                "id": os.environ.get("WANDB_RUN_ID", identity),
                "name": os.environ.get("WANDB_NAME", run),
                "resume": "allow",
            }
        else:
            _forget_later_points(run, step)
            # In a notebook it would start a server beside the run.
            options = {"name": run, "resume": "allow", "embed": False}
    project = os.environ.get("WANDB_PROJECT", PROJECT) if name == "wandb" else PROJECT
    plain = {
        key: value if isinstance(value, int | float | str) else json.dumps(value)
        for key, value in _flat(config).items()
    }
    with _quiet(name), _hub_unasked(name):
        accelerator.init_trackers(project, config=plain, init_kwargs={name: options})


def _finish(accelerator: Any, name: str, code: int) -> None:
    trackers, accelerator.trackers = accelerator.trackers, []
    try:
        for tracker in trackers:
            if name == "wandb":
                tracker.tracker.finish(exit_code=code)
            elif name == "trackio":
                import trackio

                # The package's own: after the run's, it would finish once more when Python ends.
                with _quiet(name):
                    trackio.finish()
            else:
                tracker.finish()
    except Exception as error:
        _leave_behind(name, f"did not end well ({_one_line(error)})")


def _log(accelerator: Any, name: str, values: dict[str, float], step: int) -> None:
    try:
        accelerator.log(values, step=step)
    except Exception as error:
        accelerator.trackers = []
        _leave_behind(name, f"failed ({_one_line(error)}), training goes on without it")


def _leave_behind(name: str, what: str) -> None:
    tqdm.write(f"tracker: {name} {what}; metrics.jsonl has every epoch", file=sys.stderr)
    if name == "wandb":
        import wandb

        # Or it would try once more when Python ends, and show a traceback.
        with suppress(Exception):
            wandb.teardown(1)


def _identity(folder: Path) -> str:
    """The run's id, made once: by it a resumed run goes on where W&B and trackio know it."""
    file = folder / "run_id"
    if not file.is_file():
        file.write_text(secrets.token_hex(4), encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def _forget_later_points(run: str, step: int) -> None:
    """Takes out of trackio's file what a killed run logged after its checkpoint: it will be logged again."""
    file = Path(os.environ["TRACKIO_DIR"]) / f"{PROJECT}.db"
    if not file.is_file():
        return
    try:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("DELETE FROM metrics WHERE run_name = ? AND step > ?", (run, step))
    except sqlite3.Error:
        # Tables of another version of trackio: those points are there twice then, with the same values.
        return


def _check_trackio_folder() -> None:
    """trackio takes its folder from the environment once, when it is imported."""
    module = sys.modules.get("trackio.utils")
    if module is not None and str(module.TRACKIO_DIR) != os.environ["TRACKIO_DIR"]:
        raise ValueError(
            f"tracker: trackio writes into {module.TRACKIO_DIR} as long as this process lives: "
            "train in another process, or set TRACKIO_DIR for all runs"
        )


def _trackio_sends() -> bool:
    return bool(os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL"))


@contextmanager
def _hub_unasked(name: str) -> Iterator[None]:
    """With a token of the Hub at hand, trackio asks the Hub for its owner's name: not for a local run."""
    if name != "trackio" or _trackio_sends():
        yield
        return
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _quiet(name: str) -> Any:
    """trackio prints a handful of lines to stdout at start and end, and has no switch for it."""
    return redirect_stdout(io.StringIO()) if name == "trackio" and not _trackio_sends() else nullcontext()


def _default(name: str, value: str) -> None:
    if os.environ.get(name) in (None, _put.get(name)):
        os.environ[name] = _put[name] = value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat
