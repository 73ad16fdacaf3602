"""The table of an experiment: every row with its error, its difference, its cost, and what was published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mghft.pipeline.predictions import Predictions, read_predictions
from mghft.train.comparison.compare import CompareConfig, compare_predictions
from mghft.train.comparison.results import Pair, Section, SystemSummary
from mghft.train.evaluation.results import WHOLE
from mghft.train.experiments.cells import RECORD, Cell, plan_cells
from mghft.train.experiments.experiment import Experiment


@dataclass(frozen=True)
class TableRow:
    """One row: ours, a published one, or both.

    Attributes:
        ours: None for a system that was not run, or not yet.
        pair: against the experiment's `against`; None for that row itself.
        train_minutes, memory_mb: mean over the cells, of the training alone and of the largest process; None
            for what is not trained here.
        published: percent by metric.
    """

    name: str
    ours: SystemSummary | None
    pair: Pair | None
    train_minutes: float | None
    memory_mb: float | None
    published: dict[str, float]


@dataclass(frozen=True)
class ExperimentTable:
    """All rows on one corpus, or on all of them pooled.

    Attributes:
        heading: the corpus.
        subset: of the split; "all" is the whole.
        done, cells: how many cells have a result, of how many.
        notes: what a reader should know.
    """

    title: str
    heading: str
    split: str
    subset: str
    stickers: int
    rows: list[TableRow]
    done: int
    cells: int
    source: str | None
    notes: list[str]


def experiment_table(experiment: Experiment, out: Path, *, rounds: int = 2000) -> list[ExperimentTable]:
    """Read the results that are there and make the tables: one for each corpus and subset.

    Raises:
        ValueError: no cell has a result yet, or results do not go together (see `align`).
    """
    cells = plan_cells(experiment, out)
    done = [cell for cell in cells if cell.predictions.is_file()]
    if not done:
        raise ValueError(
            f"no cell of the experiment has a result in {out} yet: `mghft experiment run` makes them"
        )
    parts = [("all cards pooled", cells)] if experiment.pool else []
    parts = parts or [(card, [cell for cell in cells if cell.card == card]) for card in experiment.cards]
    tables: list[ExperimentTable] = []
    for heading, of_card in parts:
        finished = [cell for cell in of_card if cell.predictions.is_file()]
        if finished:
            tables += _tables_of(experiment, heading, of_card, finished, rounds)
    return tables


def _tables_of(
    experiment: Experiment, heading: str, cells: Sequence[Cell], done: Sequence[Cell], rounds: int
) -> list[ExperimentTable]:
    names = list(dict.fromkeys(cell.name for cell in cells))
    against = experiment.against if experiment.against in {cell.name for cell in done} else None
    predictions = [one for cell in done for one in _predictions_of(cell)]
    config = CompareConfig(
        sources=(heading,), split=experiment.split, against=against, metric=experiment.metric, rounds=rounds
    )
    comparison = compare_predictions(_pooled(predictions) if experiment.pool else predictions, config)
    return [
        ExperimentTable(
            title=experiment.title,
            heading=heading,
            split=experiment.split,
            subset=section.subset,
            stickers=section.stickers,
            rows=_rows(experiment, names, section, done),
            done=len(done),
            cells=len(cells),
            source=None if experiment.published is None else experiment.published.source,
            notes=comparison.notes if section.subset == WHOLE else [],
        )
        for section in comparison.sections
    ]


def _predictions_of(cell: Cell) -> list[Predictions]:
    """Return what a cell predicts, under the name of its row."""
    found = read_predictions(cell.predictions)
    if cell.system.predictions is None:
        return found
    names = list(dict.fromkeys(one.system for one in found))
    wanted = cell.system.system or names[0]
    if wanted not in names or (cell.system.system is None and len(names) > 1):
        raise ValueError(f"{cell.predictions} holds the systems {', '.join(names)}: say which with `system`")
    return [replace(one, system=cell.name) for one in found if one.system == wanted]


def _pooled(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Return one entry per system, seed and split, of the stickers of all cards, which must differ."""
    parts: dict[tuple[str, int, str], list[Predictions]] = {}
    for one in predictions:
        parts.setdefault((one.system, one.seed, one.split), []).append(one)
    found = []
    for (system, _, split), same in parts.items():
        ids = tuple(id_ for one in same for id_ in one.ids)
        if split != "test" and len(set(ids)) < len(ids):
            # Folds share their validation stickers: the temperature of pooled folds is not fitted.
            continue
        if len(set(ids)) < len(ids):
            raise ValueError(
                f"pool: a sticker is in the split {split!r} of two cards, as {system!r} saw them"
            )
        found.append(
            replace(
                same[0],
                ids=ids,
                true=np.concatenate([one.true for one in same]),
                probabilities=np.concatenate([one.probabilities for one in same]),
                subsets=tuple(name for one in same for name in one.subsets or (None,) * len(one.ids)),
                groups=tuple(name for one in same for name in one.groups or (None,) * len(one.ids)),
            )
        )
    return found


def _rows(
    experiment: Experiment, names: Sequence[str], section: Section, done: Sequence[Cell]
) -> list[TableRow]:
    summaries = {system.name: system for system in section.systems}
    pairs = {name: pair for pair in section.pairs for name in (pair.first, pair.second)}
    published = {} if experiment.published is None else dict(experiment.published.rows)
    rows = []
    for name in (*names, *(name for name in published if name not in names)):
        records = [_record(cell) for cell in done if cell.name == name]
        trained = [record["seconds"]["train"] for record in records if "train" in record["seconds"]]
        memory = [record["memory_mb"] for record in records if "train" in record["seconds"]]
        compared = experiment.against in summaries and name in summaries and name != experiment.against
        rows.append(
            TableRow(
                name=name,
                ours=summaries.get(name),
                pair=pairs[name] if compared else None,
                train_minutes=float(np.mean(trained)) / 60 if trained else None,
                memory_mb=float(np.mean(memory)) if memory else None,
                published={str(metric): value for metric, value in published.get(name, {}).items()},
            )
        )
    return rows


def seconds_of(cell: Cell) -> dict[str, float]:
    """Return what the steps of a finished cell took, by name: train, eval."""
    seconds: dict[str, float] = _record(cell)["seconds"]
    return seconds


def _record(cell: Cell) -> dict[str, Any]:
    path = cell.folder / RECORD
    record: dict[str, Any] = {"seconds": {}}
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    return record
