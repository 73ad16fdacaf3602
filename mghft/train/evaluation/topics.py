"""Accuracy per topic (SER30K: the sticker set): a good mean can hide sets that a system always gets wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mghft.train.evaluation.bootstrap import draw_groups, drawn_means, group_numbers, percentiles
from mghft.train.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    # results are read before torch is there
    from mghft.train.data.splits import Split

# The accuracy of fewer says next to nothing: such a topic is in the table and not among the hardest.
MIN_STICKERS = 5
_HARDEST = 10
_COLUMNS = ("split", "topic", "stickers", "system", "right", "accuracy", "low", "high")


@dataclass(frozen=True)
class TopicMetrics:
    """One system on one topic; the interval is Wilson's at 95 %."""

    topic: str
    count: int
    right: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class TopicSummary:
    """One system over the topics of a split.

    Attributes:
        topics: how many there are; stickers without a topic are left out.
        mean_accuracy: over topics, each counted once however many stickers it has.
        interval: its 95 % bootstrap interval over topics.
        none_right: share of topics of which no sticker is right.
        hardest: at most ten topics of five stickers or more, the lowest accuracy first.
    """

    topics: int
    mean_accuracy: float
    interval: tuple[float, float]
    none_right: float
    hardest: list[TopicMetrics]


def evaluate_topics(
    split: Split, systems: Mapping[str, NDArray[np.float64]], *, seed: int, rounds: int
) -> tuple[dict[str, TopicSummary], dict[str, list[TopicMetrics]]]:
    """Compute the accuracy of every system on every topic of a split.

    Args:
        split: whose labels are the truth.
        systems: [n, classes] probabilities by system.
        seed, rounds: of the bootstrap.

    Returns:
        The summary by system, and all topics by system, by name. Both are empty where the corpus says no
        topics, or a split holds one topic alone.
    """
    topics = np.array([sticker.topic or "" for sticker in split.stickers])
    there = topics != ""
    names, numbers = np.unique(topics[there], return_inverse=True)
    if len(names) < 2:
        return {}, {}
    counts = np.bincount(numbers)
    draws = draw_groups(group_numbers(names.tolist()), seed, rounds)
    summaries, tables = {}, {}
    for system, probabilities in systems.items():
        hits = (probabilities.argmax(1) == split.labels)[there]
        right = np.bincount(numbers, weights=hits).astype(int)
        accuracy = right / counts
        rows = list(map(_topic, names.tolist(), counts.tolist(), right.tolist()))
        large = [row for row in rows if row.count >= MIN_STICKERS]
        summaries[system] = TopicSummary(
            topics=len(names),
            mean_accuracy=float(accuracy.mean()),
            interval=percentiles(drawn_means(accuracy, draws)),
            none_right=float((right == 0).mean()),
            hardest=sorted(large, key=lambda row: (row.accuracy, -row.count, row.topic))[:_HARDEST],
        )
        tables[system] = rows
    return summaries, tables


def topics_csv(splits: Mapping[str, Mapping[str, Sequence[TopicMetrics]]]) -> str:
    """Return topics.csv: a row per split, topic and system, with Wilson's interval."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for split, systems in splits.items():
        for rows in zip(*systems.values(), strict=True):
            for system, row in zip(systems, rows, strict=True):
                low, high = row.interval
                figures = (f"{value:.4f}" for value in (row.accuracy, low, high))
                writer.writerow((split, row.topic, row.count, system, row.right, *figures))
    return file.getvalue()


def topic_lines(split: str, systems: Mapping[str, TopicSummary]) -> Iterator[str]:
    """Yield a sentence per system for report.md and the page, and where every topic's figures are."""
    for system, one in systems.items():
        low, high = one.interval
        yield (
            f"{system}, mean over the {one.topics} topics of {split}: {one.mean_accuracy:.1%} "
            f"({low:.1%} to {high:.1%}); none right in {one.none_right:.1%} of them"
        )


def _topic(name: str, count: int, right: int) -> TopicMetrics:
    interval = wilson_interval(right, count)
    assert interval is not None
    return TopicMetrics(name, count, right, right / count, interval)
