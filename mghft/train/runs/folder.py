"""The run folder of training: who may write into it, and the files a person reads.

`config.json` (fully resolved), `metrics.jsonl`, `checkpoints/`, `best/`, and `summary.json` once finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mghft.model.joint import Trained
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.files import mend_folder, replace_folder, sync, write_json, write_text
from mghft.pipeline.processor import Processor, processor
from mghft.pipeline.settings import differing_fields, field_at
from mghft.pipeline.source import source_commit
from mghft.train.runs.checkpoints import checkpoint_paths, damage, disk_errors_named
from mghft.train.runs.files import read_json, read_metrics
from mghft.train.runs.inference import FILE_NAME as INFERENCE_FILE
from mghft.train.runs.inference import InferenceConfig
from mghft.train.runs.records import (
    Change,
    CorrectionsRecord,
    EpochRecord,
    FieldChange,
    ResolvedConfig,
    Start,
    Summary,
)

# What decides a run's numbers beside its configuration.
_DECIDING = (
    "mghft",
    "torch",
    "torchvision",
    "accelerate",
    "timm",
    "transformers",
    "numpy",
    "pillow",
    "pyarrow",
    "safetensors",
    "tokenizers",
    "scipy",
    "scikit-learn",
)


class RunFolder:
    """Files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.metrics_file = path / "metrics.jsonl"
        self.summary_file = path / "summary.json"
        self._changes: dict[str, FieldChange] = {}

    def check(self, identity: dict[str, Any], *, resume: bool, allow: Sequence[str] = ()) -> bool:
        """Return whether the run in the folder is this one and finished.

        Args:
            resume: go on with an unfinished run.
            allow: fields that may differ from those of the run; `model` allows `model.alpha` too.

        Raises:
            ValueError: the folder holds a run of another configuration (the fields are named), an
                unfinished run that shall not be resumed, or other files.
        """
        if not self.config_file.is_file():
            self._check_empty()
            return False
        old = read_json(self.config_file).get("identity")
        differing = differing_fields(old, identity)
        refused = [name for name in differing if not any(f"{name}.".startswith(f"{a}.") for a in allow)]
        if refused:
            raise ValueError(
                f"the folder {self.path} holds a run of another configuration, they differ in "
                f"{', '.join(refused)}: choose another --out or the same settings, or go on all the same "
                f"with --resume --allow-changes {','.join(refused)}"
            )
        self._changes = {
            name: {"from": field_at(old, name), "to": field_at(identity, name)} for name in differing
        }
        if self.summary_file.is_file() and not differing:
            return True
        if not resume:
            raise ValueError(
                f"the folder {self.path} holds an unfinished run of this configuration: "
                "add --resume to go on, or choose another --out"
            )
        return False

    def _check_empty(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file: give --out a folder")
        if self.path.is_dir() and any(not path.name.startswith(".") for path in self.path.iterdir()):
            raise ValueError(
                f"the folder {self.path} is not empty and is not a run folder of 'mghft train': "
                "give --out an empty or new folder"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training into the folder; the lock dies with this process.

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
        *,
        identity: dict[str, Any],
        config: dict[str, Any],
        model: dict[str, Any],
        labels: Sequence[str],
        corrections: CorrectionsRecord | None = None,
    ) -> None:
        """Write config.json, and set right what a killed run left half done.

        Args:
            identity: fields that decide the result; another run has others.
            config: the training configuration, ready for JSON.
            model: the model's configuration, ready for JSON.
            labels: names in index order.
            corrections: that were laid over the descriptions.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        mend_folder(self.path / "best")
        changes: list[Change] = []
        processors: list[Processor] = []
        starts: list[Start] = []
        if self.config_file.is_file():
            before = read_json(self.config_file)
            changes, processors = before["changes"], list(before.get("processors", []))
            starts = list(before.get("starts", []))
        if (current := processor()) not in processors[-1:]:
            processors = [*processors, current]
        if self._changes:
            self.summary_file.unlink(missing_ok=True)
            checkpoints = checkpoint_paths(self.path)
            after = checkpoints[-1].name if checkpoints else None
            changes.append({"after": after, "fields": self._changes})
        resolved: ResolvedConfig = {
            "identity": identity,
            "config": config,
            "model": model,
            "labels": list(labels),
            "versions": package_versions(),
            "changes": changes,
            "processors": processors,
            "starts": [*starts, _start()],
        }
        if corrections is not None:
            resolved["corrections"] = corrections
        with disk_errors_named(str(self.config_file)):
            write_json(self.config_file, resolved)

    def resume_from(self, say: Callable[[str], object]) -> Path | None:
        """Return the last complete checkpoint; without one the run begins anew. Damaged ones are renamed."""
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
        """Drop the lines of epochs that the checkpoint does not know; they will be run again."""
        records = [record for record in read_metrics(self.path) if record["epoch"] <= epochs]
        with disk_errors_named(str(self.metrics_file)):
            write_text(self.metrics_file, "".join(json.dumps(record) + "\n" for record in records))

    def add_metrics(self, record: EpochRecord) -> None:
        """Append the line of an epoch."""
        with (
            disk_errors_named(str(self.metrics_file)),
            self.metrics_file.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(record) + "\n")
            file.flush()
            # The checkpoint that comes next must not be on disk without it; nor without the file's name.
            os.fsync(file.fileno())
            sync(self.path)

    def write_best(self, model: Trained, card: str, inference: InferenceConfig) -> None:
        """Write weights and card of the best epoch so far, and how they are used."""

        def write(folder: Path) -> None:
            write_text(folder / "README.md", card)
            write_json(folder / INFERENCE_FILE, inference.model_dump(mode="json"))
            model.save_pretrained(folder)

        with disk_errors_named(f"the weights {self.path / 'best'}"):
            replace_folder(self.path / "best", write)

    def write_bad_batch(self, step: int, losses: dict[str, float], ids: Sequence[str]) -> Path:
        """Write the ids of a batch whose loss is not finite; return the file."""
        file = self.path / "bad_batch.json"
        write_json(file, {"step": step, "losses": {k: str(v) for k, v in losses.items()}, "ids": list(ids)})
        return file

    def finish(self, summary: Summary) -> None:
        """Mark the run as finished."""
        with disk_errors_named(str(self.summary_file)):
            write_json(self.summary_file, summary)


def _start() -> Start:
    """Return when, by which command and on what this process began the run."""
    cuda = torch.cuda.is_available()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "commit": source_commit(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python, this project, and the libraries that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in _DECIDING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Run from a folder of sources that was never installed.
            found[name] = "unknown"
    return found
