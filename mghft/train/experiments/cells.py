"""Cells of an experiment: one system with one setting and seed on one corpus, each in its own folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from mghft.pipeline.predictions import FILE_NAME
from mghft.pipeline.settings import merge
from mghft.train.experiments.experiment import Experiment, System
from mghft.train.runs.files import read_json

State = Literal["done", "running", "failed", "waiting"]
RECORD, FAILURE, LOG = "cell.json", "failed.json", "log.txt"


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes:
        name: of its row: the system, and the setting where it is not the plain one.
        fields: of its training; empty for what is not trained.
        needs: cells whose trainings it evaluates together.
        folder: of its files, named by everything that decides its result.
    """

    name: str
    system: System
    card: str
    seed: int
    fields: dict[str, Any]
    needs: tuple[Cell, ...]
    folder: Path

    @property
    def run(self) -> Path:
        """Folder of its training."""
        return self.folder / "run"

    @property
    def predictions(self) -> Path:
        """File of its result; the cell is done when it is there."""
        return self.system.predictions or self.folder / FILE_NAME

    @property
    def title(self) -> str:
        """Name for people."""
        return f"{self.name}, seed {self.seed}, {self.card}"

    def state(self) -> State:
        """Return how far the cell is, whoever works on it."""
        if self.predictions.is_file():
            return "done"
        if not self.folder.is_dir():
            return "waiting"
        with lock_cell(self.folder) as held:
            if held is None:
                return "running"
        return "failed" if (self.folder / FAILURE).is_file() else "waiting"


def plan_cells(experiment: Experiment, out: Path) -> list[Cell]:
    """Return all cells, in the order they are run: seed by seed, so that a first table is there early."""
    cells: list[Cell] = []
    for card in experiment.cards:
        for seed in dict.fromkeys(
            seed for one in experiment.systems.values() for seed in _seeds(experiment, one)
        ):
            for setting in (None, *experiment.settings):
                cells += _cells_of(experiment, out, card, seed, setting)
    return cells


def _seeds(experiment: Experiment, system: System) -> tuple[int, ...]:
    return system.seeds or experiment.seeds


def _cells_of(experiment: Experiment, out: Path, card: str, seed: int, setting: str | None) -> list[Cell]:
    trained: dict[str, Cell] = {}
    found = []
    # What is trained comes first: the others evaluate it.
    ordered = sorted(experiment.systems.items(), key=lambda item: item[1].train is None)
    for name, system in ordered:
        if seed not in _seeds(experiment, system) or not _runs(system, setting):
            continue
        if system.predictions is not None and seed != _seeds(experiment, system)[0]:
            # A file of another program holds its own seeds.
            continue
        fields = {}
        if system.train is not None:
            fields = merge(experiment.train, system.train, experiment.settings.get(setting or "", {}))
        needs = tuple(trained[other] for other in system.eval or () if other in trained)
        if len(needs) < len(system.eval or ()):
            continue
        row = name if setting is None else f"{name}, {setting}"
        identity = {
            "card": card,
            "seed": seed,
            "splits": experiment.splits,
            "fields": fields,
            # What is not given is left out: a field of a later version changes no folder.
            "system": system.model_dump(mode="json", exclude={"seeds", "settings"}, exclude_none=True),
            "needs": [cell.folder.name for cell in needs],
            "texts": _texts_identity(experiment),
        }
        if experiment.num_processes > 1:
            identity["num_processes"] = experiment.num_processes
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
        folder = out / "cells" / f"{_slug(row)}-{_slug(card)}-s{seed}-{digest}"
        cell = Cell(row, system, card, seed, fields, needs, folder)
        if system.train is not None:
            trained[name] = cell
        found.append(cell)
    return found


def _texts_identity(experiment: Experiment) -> Any:
    """Return what the descriptions are known by: a run by its fingerprint, wherever it lies."""
    if experiment.descriptions is None:
        return experiment.describe
    manifest = experiment.descriptions / "manifest.json"
    if not manifest.is_file():
        return str(experiment.descriptions)
    return read_json(manifest).get("fingerprint")


def _runs(system: System, setting: str | None) -> bool:
    """Return whether a system has a row of a setting; what reads no training has the plain one alone."""
    if setting is None:
        return True
    if system.settings is not None:
        return setting in system.settings
    return system.train is not None or system.eval is not None


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:40]


@contextlib.contextmanager
def lock_cell(folder: Path) -> Iterator[IO[str] | None]:
    """Hold a cell's folder, which must exist; None where another process holds it.

    The kernel's lock belongs to the open file: a training that inherits it and outlives its experiment keeps
    the cell taken until it ends.
    """
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file
