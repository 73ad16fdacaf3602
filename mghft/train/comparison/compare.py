"""Comparison of systems: their metrics over seeds, every pair with its error, and who is right where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.predictions import Predictions
from mghft.train.comparison.pairs import compare_pair, with_words
from mghft.train.comparison.results import Comparison, Disagreement, Section, SeedMetric, SystemSummary
from mghft.train.comparison.statistics import error_of_two, holm, seed_interval
from mghft.train.comparison.systems import ComparedSystems, align, read_sources
from mghft.train.evaluation.bootstrap import draw_groups, drawn_metric, group_numbers
from mghft.train.evaluation.calibration import fit_temperature
from mghft.train.evaluation.metrics import classification_metrics
from mghft.train.evaluation.probability_metrics import probability_metrics
from mghft.train.evaluation.results import WHOLE

Metric = Literal["accuracy", "f1_macro"]
LEVEL_OF_TESTS = 0.05
_VALIDATION = "validation"


class CompareConfig(BaseModel):
    """One comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(min_length=1, description="predictions files, folders, or NAME=PATH")
    split: str = Field(default="test", description="split to compare on")
    systems: tuple[str, ...] = Field(default=(), description="systems to compare; all where empty")
    against: str | None = Field(default=None, description="compare the others with this one alone")
    metric: Metric = Field(default="accuracy", description="what pairs are compared by")
    common: bool = Field(default=False, description="on the stickers that all have, where some have more")
    subsets: bool = Field(default=True, description="subsets of the split as well")
    seed: int = Field(default=0, ge=0, description="of the bootstrap and the permutations")
    rounds: int = Field(default=2000, ge=100, description="of the bootstrap")


def compare(config: CompareConfig) -> Comparison:
    """Compare systems by their predictions.

    Raises:
        FileNotFoundError, ValueError: of `read_sources` and `align`, or `against` is no system.
    """
    return compare_predictions(read_sources(config.sources), config)


def compare_predictions(predictions: Sequence[Predictions], config: CompareConfig) -> Comparison:
    """Compare systems whose predictions were read before; see `compare`, and `align` for what is raised."""
    systems, left_out = align(predictions, config.split, systems=config.systems, common=config.common)
    names = list(systems.probabilities)
    if config.against is not None and config.against not in names:
        raise ValueError(
            f"there is no system {config.against!r} to compare with: there are {', '.join(names)}"
        )
    temperatures = _temperatures(predictions)
    sections = [_section(systems, WHOLE, temperatures, config)]
    known = sorted({subset for subset in systems.subsets if subset is not None})
    for subset in known if config.subsets else ():
        rows = np.array([value == subset for value in systems.subsets])
        sections.append(_section(systems.take(rows), subset, temperatures, config))
    return Comparison(
        sources=list(config.sources),
        split=config.split,
        labels=list(systems.labels),
        left_out=left_out,
        metric=config.metric,
        sections=sections,
        disagreements=_disagreements(systems, *_first_two(names, config.against)) if len(names) > 1 else [],
        notes=_notes(systems, left_out),
    )


def _first_two(names: Sequence[str], against: str | None) -> tuple[str, str]:
    if against is None:
        return names[0], names[1]
    return next(name for name in names if name != against), against


def _temperatures(predictions: Sequence[Predictions]) -> dict[tuple[str, int], float]:
    return {
        (one.system, one.seed): fit_temperature(one.probabilities, one.true)
        for one in predictions
        if one.split == _VALIDATION
    }


def _section(
    systems: ComparedSystems,
    subset: str,
    temperatures: Mapping[tuple[str, int], float],
    config: CompareConfig,
) -> Section:
    groups = group_numbers(systems.groups)
    draws = draw_groups(groups, config.seed, config.rounds)
    names = list(systems.probabilities)
    pairs = [
        compare_pair(systems, first, second, config.metric, groups, draws, config.seed)
        for first, second in combinations(names, 2)
        if config.against is None or config.against in (first, second)
    ]
    corrected = holm([pair.p_value for pair in pairs])
    return Section(
        subset=subset,
        stickers=len(systems.ids),
        groups=int(groups.max()) + 1,
        systems=[_summary(systems, name, groups, draws, temperatures) for name in names],
        pairs=[
            with_words(
                replace(pair, p_holm=p_holm, told_apart=p_holm < LEVEL_OF_TESTS),
                stickers=len(systems.ids),
                pairs=len(pairs),
            )
            for pair, p_holm in zip(pairs, corrected, strict=True)
        ],
    )


def _summary(
    systems: ComparedSystems,
    name: str,
    groups: NDArray[np.int64],
    draws: NDArray[np.uint16],
    temperatures: Mapping[tuple[str, int], float],
) -> SystemSummary:
    seeds = systems.seeds[name]
    fitted = [temperatures.get((name, seed)) for seed in seeds]
    labels, of_probabilities = [], []
    for probabilities, temperature in zip(systems.probabilities[name], fitted, strict=True):
        labels.append(classification_metrics(systems.true, probabilities.argmax(1), systems.labels))
        of_probabilities.append(
            probability_metrics(systems.true, probabilities, systems.labels, temperature=temperature)
        )
    return SystemSummary(
        name=name,
        seeds=list(seeds),
        accuracy=over_seeds(systems, name, "accuracy", groups, draws),
        f1_macro=over_seeds(systems, name, "f1_macro", groups, draws),
        balanced_accuracy=float(np.mean([one.balanced_accuracy for one in labels])),
        mcc=float(np.mean([one.mcc for one in labels])),
        mean_average_precision=float(np.mean([one.mean_average_precision for one in of_probabilities])),
        log_loss=float(np.mean([one.log_loss for one in of_probabilities])),
        brier=float(np.mean([one.brier for one in of_probabilities])),
        ece=float(np.mean([one.ece for one in of_probabilities])),
        temperature=_mean_of_all(fitted),
        ece_calibrated=_mean_of_all([one.ece_calibrated for one in of_probabilities]),
    )


def over_seeds(
    systems: ComparedSystems,
    name: str,
    metric: Metric,
    groups: NDArray[np.int64],
    draws: NDArray[np.uint16],
) -> SeedMetric:
    """Return a metric of one system over its seeds, with intervals.

    Args:
        systems: holding it.
        groups: [n] numbers.
        draws: [rounds, n] of `draw_groups`.
    """
    predicted = systems.predicted(name)
    once = np.ones((1, len(systems.true)), dtype=np.uint16)
    by_seed = np.array([drawn_metric(metric, row[None], systems.true, once)[0] for row in predicted])
    drawn = drawn_metric(metric, predicted, systems.true, draws)
    error = error_of_two(drawn, by_seed, int(groups.max()) + 1)
    low, high = error.interval
    return SeedMetric(
        mean=error.value,
        deviation=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        by_seed=by_seed.tolist(),
        interval=(max(0.0, low), min(1.0, high)),
        seed_interval=seed_interval(by_seed.tolist()),
    )


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _disagreements(systems: ComparedSystems, first: str, second: str) -> list[Disagreement]:
    """Return what one of two gets right and the other wrong, those first that the seeds agree on most."""
    right = {name: (systems.predicted(name) == systems.true).mean(axis=0) for name in (first, second)}
    found: list[tuple[float, Disagreement]] = []
    for row, id_ in enumerate(systems.ids):
        for winner, loser in ((first, second), (second, first)):
            if right[winner][row] > 0.5 >= right[loser][row]:
                mean = {name: systems.probabilities[name][:, row].mean(axis=0) for name in (winner, loser)}
                true = int(systems.true[row])
                answer = int(np.delete(mean[loser], true).argmax())
                answer += answer >= true
                found.append(
                    (
                        right[winner][row]
                        - right[loser][row]
                        + float(mean[winner][true] - mean[loser][true]),
                        Disagreement(
                            id=id_,
                            true=systems.labels[true],
                            right=winner,
                            wrong=loser,
                            answer_of_wrong=systems.labels[answer],
                            probability_of_right=float(mean[winner][true]),
                            probability_of_wrong=float(mean[loser][true]),
                        ),
                    )
                )
    return [one for _, one in sorted(found, key=lambda pair: -pair[0])]


def _notes(systems: ComparedSystems, left_out: int) -> list[str]:
    notes = []
    alone = [name for name, seeds in systems.seeds.items() if len(seeds) == 1]
    if alone:
        notes.append(
            f"one seed of {', '.join(alone)}: how much another training would differ is not in these "
            f"intervals"
        )
    grouped = [group for group in systems.groups if group is not None]
    if len(set(grouped)) < len(grouped):
        notes.append(
            f"intervals draw {len(set(grouped))} groups of stickers that are alike, not {len(grouped)} "
            f"stickers"
        )
    if left_out:
        notes.append(f"{left_out} stickers that not all systems have were left out")
    missing = [label for i, label in enumerate(systems.labels) if not (systems.true == i).any()]
    if missing:
        notes.append(f"no sticker has the label {', '.join(missing)}: macro means leave it out")
    return notes
