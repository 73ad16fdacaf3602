"""Accuracy of trained runs under every condition, each beside the undisturbed one on the same stickers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.corpora.sticker import alike
from mghft.pipeline.predictions import Predictions, prediction_table
from mghft.train.comparison.compare import over_seeds
from mghft.train.comparison.pairs import compare_pair
from mghft.train.comparison.results import Pair, SeedMetric
from mghft.train.comparison.statistics import holm
from mghft.train.comparison.systems import align
from mghft.train.evaluation.bootstrap import draw_groups, group_numbers
from mghft.train.evaluation.opened_run import open_run
from mghft.train.evaluation.trained_runs import TrainedRun, open_runs
from mghft.train.robustness.conditions import UNDISTURBED, Condition, conditions_of

_BETWEEN = " · "


class RobustnessConfig(BaseModel):
    """One measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[Path, ...] = Field(min_length=1, description="run folders of `mghft train`")
    out: Path = Field(description="folder of the tables")
    split: str = Field(default="test", description="split to judge on")
    data: Path | None = Field(default=None, description="root of the corpus, if it is elsewhere now")
    descriptions: Path | None = Field(default=None, description="run of descriptions, likewise")
    cache_dir: Path | None = Field(default=None, description="cache, if another than the run's")
    batch_size: int = Field(default=64, ge=1, description="stickers at a time")
    num_threads: int | None = Field(default=None, ge=1, description="threads of torch on CPU")
    seed: int = Field(default=0, ge=0, description="of the exchanged descriptions and of the bootstrap")
    rounds: int = Field(default=2000, ge=100, description="of the bootstrap")


@dataclass(frozen=True)
class ConditionResult:
    """One system under one condition; the difference is to the undisturbed one, None for that itself."""

    system: str
    condition: Condition
    accuracy: SeedMetric
    f1_macro: SeedMetric
    difference: Pair | None


@dataclass(frozen=True)
class Robustness:
    """Everything that was measured.

    Attributes:
        stickers: of the split.
        seeds: of each system.
        notes: what a reader should know.
    """

    split: str
    stickers: int
    seeds: dict[str, list[int]]
    results: list[ConditionResult]
    notes: list[str]


def open_seeds(config: RobustnessConfig) -> list[TrainedRun]:
    """Open the runs; those that differ in the seed alone share a name, others get their folder's too.

    Raises:
        FileNotFoundError, ValueError: as `open_runs`, or two runs have one name and one seed.
    """
    moved = {name: getattr(config, name) for name in ("data", "descriptions", "cache_dir")}
    moved = {name: value for name, value in moved.items() if value is not None}
    found: list[TrainedRun] = []
    for folder in config.runs:
        (run,) = open_runs([folder], moved)
        same = [other for other in found if other.name == run.name]
        if any(_without_seed(other) != _without_seed(run) for other in same):
            run = replace(run, name=f"{run.name} ({folder.name})")
        if any((other.name, other.config.seed) == (run.name, run.config.seed) for other in found):
            raise ValueError(f"the run {folder} is a second {run.name} with seed {run.config.seed}: give one")
        found.append(run)
    if len({run.labels for run in found}) > 1:
        raise ValueError("the runs have different labels: judge those of one corpus together")
    return found


def _without_seed(run: TrainedRun) -> dict[str, Any]:
    return {name: value for name, value in run.config.identity().items() if name != "seed"}


def measure_robustness(config: RobustnessConfig) -> tuple[Robustness, pa.Table]:
    """Judge every run under every condition.

    Returns:
        The results, and the predictions as rows of a predictions file.

    Raises:
        FileNotFoundError, ValueError: something the user gave is wrong; one sentence.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    tables: list[pa.Table] = []
    predictions: list[Predictions] = []
    conditions: dict[str, list[Condition]] = {}
    notes: dict[str, None] = {}
    for run in open_seeds(config):
        opened = open_run(run, {config.split})
        split = opened.splits[config.split]
        conditions[run.name] = []
        for condition, changed in conditions_of(opened, split, config.seed):
            conditions[run.name].append(condition)
            probabilities = opened.predict(changed, batch_size=config.batch_size)
            name = f"{run.name}{_BETWEEN}{condition.name}"
            fields: dict[str, Any] = {
                "system": name,
                "seed": run.config.seed,
                "split": config.split,
                "labels": run.labels,
                "probabilities": probabilities,
                "ids": tuple(sticker.id for sticker in split.stickers),
                "groups": tuple(alike(split.stickers)),
            }
            tables.append(prediction_table(**fields, true=[run.labels[label] for label in split.labels]))
            predictions.append(Predictions(**fields, true=split.labels))
        notes |= dict.fromkeys(_notes(run, conditions[run.name]))
    results, seeds, stickers = _results(predictions, conditions, config)
    return Robustness(config.split, stickers, seeds, results, list(notes)), pa.concat_tables(tables)


def _results(
    predictions: Sequence[Predictions], conditions: dict[str, list[Condition]], config: RobustnessConfig
) -> tuple[list[ConditionResult], dict[str, list[int]], int]:
    systems, _ = align(predictions, config.split)
    groups = group_numbers(systems.groups)
    draws = draw_groups(groups, config.seed, config.rounds)
    results: list[ConditionResult] = []
    seeds = {}
    for name, of_run in conditions.items():
        base = f"{name}{_BETWEEN}{UNDISTURBED}"
        seeds[name] = list(systems.seeds[base])
        pairs = [
            compare_pair(systems, f"{name}{_BETWEEN}{one.name}", base, "accuracy", groups, draws, config.seed)
            for one in of_run[1:]
        ]
        corrected = holm([pair.p_value for pair in pairs])
        differences = [
            None,
            *(
                replace(pair, p_holm=p_holm, told_apart=p_holm < 0.05)
                for pair, p_holm in zip(pairs, corrected, strict=True)
            ),
        ]
        for condition, difference in zip(of_run, differences, strict=True):
            system = f"{name}{_BETWEEN}{condition.name}"
            results.append(
                ConditionResult(
                    name,
                    condition,
                    over_seeds(systems, system, "accuracy", groups, draws),
                    over_seeds(systems, system, "f1_macro", groups, draws),
                    difference,
                )
            )
    return results, seeds, len(np.asarray(systems.true))


def _notes(run: TrainedRun, conditions: Sequence[Condition]) -> list[str]:
    notes = []
    if not run.config.use_text:
        notes.append(f"{run.name} reads no descriptions: it has no condition of views or texts")
    if all(condition.kind != "transparency" for condition in conditions):
        notes.append("no picture of this split has transparency: black as its background changes nothing")
    return notes
