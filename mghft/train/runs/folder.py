"""The run folder of training: who may write into it, and the files a person reads.

`config.json` (fully resolved), `metrics.jsonl`, `checkpoints/`, `best/`, and `summary.json` once finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mghft.model import MGHFTConfig
from mghft.model.joint import Trained
from mghft.pipeline.errors import RunLockedError
from mghft.train.config import TrainConfig
from mghft.train.runs.checkpoints import (
    checkpoint_paths,
    damage,
    disk_errors_named,
    mend_folder,
    replace_folder,
)
from mghft.train.runs.files import read_json, read_metrics, write_json


class RunFolder:
    """Files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        self._changes: dict[str, Any] = {}

    def check(self, identity: dict[str, Any], *, resume: bool, allow: Sequence[str] = ()) -> bool:
        """True when the run in the folder is this one and finished; False when there is work to do.

        Args:
            resume: go on with an unfinished run.
            allow: fields that may differ from those of the run; `model` allows `model.alpha` too.

        Raises:
            ValueError: the folder holds a run of another configuration (the fields are named), an
                unfinished run that shall not be resumed, or other things.
        """
        if not self.config_file.is_file():
            if self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir()):
                raise ValueError(
                    f"the folder {self.path} holds files but no training run: "
                    "give --out an empty or new folder"
                )
            if self.path.exists() and not self.path.is_dir():
                raise ValueError(f"{self.path} is a file: give --out a folder")
            return False
        old = read_json(self.config_file).get("identity")
        differing = _differing(old, identity)
        refused = [name for name in differing if not any(f"{name}.".startswith(f"{a}.") for a in allow)]
        if refused:
            raise ValueError(
                f"the folder {self.path} holds a run of another configuration, they differ in "
                f"{', '.join(refused)}: choose another --out or the same settings, or go on all the same "
                f"with --resume --allow-changes {','.join(refused)}"
            )
        self._changes = {name: {"from": _at(old, name), "to": _at(identity, name)} for name in differing}
        if self.summary_file.is_file() and not differing:
            return True
        if not resume:
            raise ValueError(
                f"the folder {self.path} holds an unfinished run of this configuration: "
                "add --resume to go on, or choose another --out"
            )
        return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training into the folder; the lock dies with this process.

        A lock of fcntl's kind, since one of flock's would live on in orphaned workers of the data loader.

        Raises:
            RunLockedError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunLockedError(
                    f"another process trains into the run folder {self.path}: wait for it, end it, or give "
                    "another --out"
                ) from None
            yield

    def begin(
        self,
        identity: dict[str, Any],
        config: TrainConfig,
        model_config: MGHFTConfig,
        labels: tuple[str, ...],
    ) -> None:
        """Writes config.json, and sets right what a killed run left half done."""
        self.path.mkdir(parents=True, exist_ok=True)
        mend_folder(self.path / "best")
        changes = read_json(self.config_file)["changes"] if self.config_file.is_file() else []
        if self._changes:
            self.summary_file.unlink(missing_ok=True)
            found = checkpoint_paths(self.path)
            changes.append({"after": found[-1].name if found else None, "fields": self._changes})
        resolved = {
            "identity": identity,
            "config": config.model_dump(mode="json"),
            "model": model_config.model_dump(mode="json"),
            "labels": list(labels),
            "versions": package_versions(),
            "changes": changes,
        }
        with disk_errors_named(str(self.config_file)):
            write_json(self.config_file, resolved)

    def resume_from(self, say: Callable[[str], None]) -> Path | None:
        """The last whole checkpoint; without one the run begins anew. Damaged ones are set aside."""
        folder = self.path / "checkpoints"
        for leftover in sorted(folder.glob(".step-*")):
            if leftover.suffix == ".new":
                say(f"skipped the half-written checkpoint {leftover.name[1:-4]}")
            shutil.rmtree(leftover, ignore_errors=True)
        for path in reversed(checkpoint_paths(self.path)):
            reason = damage(path)
            if reason is None:
                return path
            aside = folder / f"damaged-{path.name}"
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            say(f"skipped the checkpoint {path.name}: {reason} (it is now {aside})")
        self.metrics_file.unlink(missing_ok=True)
        return None

    def keep_metrics(self, epochs: int) -> None:
        """Drops the lines of epochs that the checkpoint does not know; they will be run again."""
        lines = [line for line in read_metrics(self.path) if line["epoch"] <= epochs]
        part = self.metrics_file.with_suffix(".part")
        with disk_errors_named(str(self.metrics_file)):
            part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            part.replace(self.metrics_file)

    def add_metrics(self, line: dict[str, Any]) -> None:
        with (
            disk_errors_named(str(self.metrics_file)),
            self.metrics_file.open("a", encoding="utf-8") as stream,
        ):
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            # The checkpoint that comes next must not be on disk without it.
            os.fsync(stream.fileno())

    def write_best(self, model: Trained, card: str) -> None:
        """Weights and card of the best epoch so far."""

        def write(folder: Path) -> None:
            (folder / "README.md").write_text(card, encoding="utf-8")
            model.save_pretrained(folder)

        with disk_errors_named(f"the weights {self.path / 'best'}"):
            replace_folder(self.path / "best", write)

    def note_bad_batch(self, state: dict[str, Any], losses: dict[str, float], ids: list[str]) -> str:
        """Keeps the ids of a batch whose loss is not finite; returns the sentence to stop with."""
        file = self.path / "bad_batch.json"
        write_json(
            file, {"step": state["step"], "losses": {k: str(v) for k, v in losses.items()}, "ids": ids}
        )
        return (
            f"the loss is {losses['loss']} at epoch {state['epoch'] + 1}, step {state['step']}: "
            f"lower the learning rate or set clip_grad (the batch's sticker ids are in {file})"
        )

    def finish(self, state: dict[str, Any]) -> None:
        """Marks the run as finished."""
        names = ("best_epoch", "best_accuracy", "best_loss", "epoch", "step")
        with disk_errors_named(str(self.summary_file)):
            write_json(self.summary_file, {name: state[name] for name in names})


def package_versions() -> dict[str, str]:
    """Versions of what the numbers depend on most."""
    return {name: version(name) for name in ("torch", "accelerate", "timm")}


def _at(content: Any, name: str) -> Any:
    """The value below a dotted name."""
    for part in name.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _differing(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            found += _differing(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if old == new else [name]
