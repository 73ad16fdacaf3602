"""Figures that another machine's runs had: is what was measured here within their range?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.settings import read_settings
from mghft.train.evaluation.results import SystemMetrics

# By split, subset and system.
Measured = Mapping[str, Mapping[str, Mapping[str, SystemMetrics]]]


class Range(NamedTuple):
    """Where the accuracy of one system on one subset is expected, both ends included."""

    split: str
    subset: str
    system: str
    low: float
    high: float


def read_expected(path: Path) -> list[Range]:
    """Read a YAML file of ranges: split, subset and system to `[low, high]`, accuracies from 0 to 1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of that form; one sentence.
    """
    return [
        _range(path, (split, subset, system), ends)
        for split, subset, system, ends in _leaves(path, read_settings(path), 3)
    ]


def compare(expected: list[Range], measured: Measured) -> list[str]:
    """Return in sentences whether the measured accuracies lie in their ranges.

    Raises:
        ValueError: a split, subset or system was not measured.
    """
    outside = []
    for split, subset, system, low, high in expected:
        try:
            accuracy = measured[split][subset][system].accuracy
        except KeyError:
            raise ValueError(f"expected is {system} on {split}, {subset}, which was not evaluated") from None
        # Half a unit of the last digit that files and tables show.
        if not low - 0.0005 <= accuracy <= high + 0.0005:
            outside.append(f"{system} on {split}, {subset}: {accuracy:.3f}, expected {low:.3f} to {high:.3f}")
    if not outside:
        return [f"all {len(expected)} accuracies lie in the expected ranges"]
    inside = len(expected) - len(outside)
    said = f"{inside} of {len(expected)} accuracies lie in the expected ranges; outside:"
    return [said, *(f"  {line}" for line in outside)]


def _leaves(path: Path, tree: Any, depth: int) -> Iterator[tuple[Any, ...]]:
    if not isinstance(tree, dict):
        raise ValueError(f"{path} is no list of ranges by split, subset and system: {str(tree)[:60]!r}")
    for name, below in tree.items():
        if depth == 1:
            yield str(name), below
        else:
            for leaf in _leaves(path, below, depth - 1):
                yield str(name), *leaf


def _range(path: Path, names: tuple[str, str, str], ends: Any) -> Range:
    numbers = isinstance(ends, list) and all(isinstance(end, int | float) for end in ends)
    if not numbers or len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 1:
        raise ValueError(f"{path}: {', '.join(names)} is {ends!r}, not two accuracies [low, high]")
    return Range(*names, *ends)
