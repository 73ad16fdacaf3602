"""Names by what is odd about them, counted and cut short for a summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from mghft.pipeline.text import first_and_more


class Tally:
    """Names in groups."""

    def __init__(self) -> None:
        self._groups: defaultdict[str, list[str]] = defaultdict(list)

    @property
    def groups(self) -> Mapping[str, list[str]]:
        """Return the names by group, in the order they came."""
        return self._groups

    def add(self, group: str, name: str) -> None:
        """Count a name into a group."""
        self._groups[group].append(name)

    def total(self) -> int:
        """Return how many names there are in all groups."""
        return sum(map(len, self._groups.values()))

    def lines(self) -> list[str]:
        """Return one line per group, the largest first: how many, and the first names."""
        by_size = sorted(self._groups.items(), key=lambda item: -len(item[1]))
        return [f"{group}: {len(names)} ({first_and_more(names)})" for group, names in by_size]
