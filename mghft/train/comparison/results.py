"""Results of a comparison, field by field what compare.json holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeedMetric:
    """One metric of one system over its seeds.

    Attributes:
        mean: over the seeds.
        deviation: standard deviation over them; None of one seed.
        by_seed: in the order of the system's seeds.
        interval: 95 %, over stickers (or their groups) and seeds together.
        seed_interval: 95 %, over seeds alone by Student's t; None with fewer than three.
    """

    mean: float
    deviation: float | None
    by_seed: list[float]
    interval: tuple[float, float]
    seed_interval: tuple[float, float] | None


@dataclass(frozen=True)
class SystemSummary:
    """One system on one set of stickers; without intervals: means over the seeds.

    Attributes:
        temperature, ece_calibrated: None where the file holds no validation predictions.
    """

    name: str
    seeds: list[int]
    accuracy: SeedMetric
    f1_macro: SeedMetric
    balanced_accuracy: float
    mcc: float
    mean_average_precision: float
    log_loss: float
    brier: float
    ece: float
    temperature: float | None
    ece_calibrated: float | None


@dataclass(frozen=True)
class Pair:
    """Two systems on the same stickers: first minus second.

    Attributes:
        metric: accuracy or f1_macro.
        value: difference of the means over seeds.
        interval: 95 %, over stickers (or their groups) and seeds together; not corrected for several pairs.
        p_value: of `test`.
        p_holm: after Holm's correction over the pairs of the section.
        test: which one it is, in words.
        first_alone, second_alone: stickers that one alone gets right, for each seed; one entry where the
            seeds
            of the two are not the same: by the majority of the seeds.
        mcnemar: exact p values, in the same order.
        stickers_needed: that would show a difference of `value` 4 times of 5; None where no number would.
        told_apart: whether p_holm is below .05.
        words: the verdict in a sentence.
    """

    first: str
    second: str
    metric: str
    value: float
    interval: tuple[float, float]
    p_value: float
    p_holm: float
    test: str
    first_alone: list[int]
    second_alone: list[int]
    mcnemar: list[float]
    stickers_needed: int | None
    told_apart: bool
    words: str


@dataclass(frozen=True)
class Section:
    """Systems and pairs on one set of stickers: the whole split ("all") or a subset of it."""

    subset: str
    stickers: int
    groups: int
    systems: list[SystemSummary]
    pairs: list[Pair]


@dataclass(frozen=True)
class Disagreement:
    """A sticker that one of two systems gets right and the other wrong, by the majority of their seeds."""

    id: str
    true: str
    right: str
    wrong: str
    answer_of_wrong: str
    probability_of_right: float
    probability_of_wrong: float


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        sources: the files, as they were given.
        left_out: stickers that not all systems have.
        metric: that the pairs are compared by.
        sections: the whole split first.
        disagreements: between the first two systems, the surest first.
        notes: what a reader should know, one sentence each.
    """

    sources: list[str]
    split: str
    labels: list[str]
    left_out: int
    metric: str
    sections: list[Section]
    disagreements: list[Disagreement]
    notes: list[str]
