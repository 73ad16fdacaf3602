"""TensorBoard or Weights & Biases beside metrics.jsonl, off unless asked for.

What they write lies in the run folder's `tracker/`; nothing is sent. A tracker that fails ends no training.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accelerate.tracking import TensorBoardTracker, WandBTracker  # type: ignore[import-untyped]
from tqdm import tqdm

from mghft.pipeline.files import write_text
from mghft.pipeline.text import one_line
from mghft.train.runs.records import EpochRecord

# Steps between two points of a step's losses; epochs are all logged.
EVERY = 10
PROJECT = "mghft"


class Tracker:
    """The tracker of a run; logs nothing where there is none, or once it has failed."""

    def __init__(self, tracker: Any = None) -> None:
        """
        Args:
            tracker: one of accelerate's, started.
        """
        self._tracker = tracker

    def log_step(self, losses: Mapping[str, float], rate: float, step: int) -> None:
        """Log the losses of one step, now and then, where that step's update is done: at `step` + 1."""
        if step % EVERY == 0:
            values = {f"step/{name}": value for name, value in losses.items()} | {"step/lr": rate}
            self._attempt("failed", lambda tracker: tracker.log(values, step=step + 1))

    def log_epoch(self, record: EpochRecord) -> None:
        """Log a line of metrics.jsonl."""
        fields: dict[str, Any] = {**record}
        step = fields.pop("step")
        values = {f"epoch/{name}": float(value) for name, value in fields.items()}
        self._attempt("failed", lambda tracker: tracker.log(values, step=step))

    def finish(self, code: int) -> None:
        """Close the tracker; W&B is told the exit code."""
        if isinstance(self._tracker, WandBTracker):
            self._attempt("did not end well", lambda tracker: tracker.tracker.finish(exit_code=code))
        else:
            self._attempt("did not end well", lambda tracker: tracker.finish())

    def _attempt(self, failure: str, call: Callable[[Any], object]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:
            name, self._tracker = self._tracker.name, None
            reason = f"tracker: {name} {failure} ({one_line(error, 300)})"
            tqdm.write(f"{reason}; metrics.jsonl has every epoch", file=sys.stderr)
            if name == "wandb":
                import wandb

                # Or it would try once more when Python ends, and show a traceback.
                with suppress(Exception):
                    wandb.teardown(1)


@contextmanager
def open_tracker(name: str | None, folder: Path, config: Mapping[str, Any], step: int) -> Iterator[Tracker]:
    """Keep a tracker open; however the block ends, it is closed and told how.

    Args:
        name: "tensorboard" or "wandb"; None for none.
        folder: that it writes into.
        config: of the run.
        step: steps that the checkpoint holds; points of later steps will be logged again.

    Raises:
        ValueError: the tracker cannot be started.
    """
    if name is None:
        yield Tracker()
        return
    folder = folder.absolute()
    with _environment(_wandb_settings(folder) if name == "wandb" else {}):
        try:
            tracker = Tracker(_start(name, folder, config, step))
        except Exception as error:
            raise ValueError(
                f"tracker: {name} could not be started ({one_line(error, 300)}): "
                "set it right or leave out --tracker, and go on with --resume"
            ) from error
        code = 0
        try:
            yield tracker
        except BaseException as error:
            # W&B's own number for Ctrl-C, by which it shows the run as stopped and not as failed.
            code = 255 if isinstance(error, KeyboardInterrupt) else 1
            raise
        finally:
            tracker.finish(code)


def check_tracker(name: str | None) -> None:
    """Check that the package of a tracker is installed.

    Raises:
        ValueError: it is not.
    """
    if name is not None and importlib.util.find_spec(name) is None:
        raise ValueError(f"tracker: the package {name} is not installed: pip install {name}, or leave it out")


def _start(name: str, folder: Path, config: Mapping[str, Any], step: int) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tensorboard":
        # It hides the points of a killed run from there on.
        tracker = TensorBoardTracker(PROJECT, folder, purge_step=step + 1)
    else:
        # Made once: under it W&B knows a resumed run.
        file = folder / "run_id"
        if not file.is_file():
            write_text(file, secrets.token_hex(4))
        run_id = file.read_text(encoding="ascii").strip()
        tracker = WandBTracker(
            os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=os.environ.get("WANDB_RUN_ID", run_id),
            name=os.environ.get("WANDB_NAME", f"{folder.parent.name}-{run_id}"),
            resume="allow",
        )
    tracker.start()
    tracker.store_init_configuration(dict(_flat(config)))
    return tracker


def _wandb_settings(folder: Path) -> dict[str, str]:
    offline = os.environ.get("WANDB_MODE", "offline") == "offline"
    return {
        "WANDB_MODE": "offline",
        # Online, the address of the run is worth its two lines.
        "WANDB_SILENT" if offline else "WANDB_QUIET": "true",
        # It would copy the progress bar, and the uncommitted changes of the repository one stands in.
        "WANDB_CONSOLE": "off",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_DISABLE_CODE": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(folder / "wandb-cache"),
    }


@contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """Set variables while the block runs, but for those that somebody has set already."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted names and plain values; a list as its JSON text."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, int | float | str) else json.dumps(value)
