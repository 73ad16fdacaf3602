"""What an adapter hands over: the stickers, and what a person should know about the copy on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.text import printable

_NAMED = 3


@dataclass
class Listing:
    """A corpus as it was found.

    Attributes:
        card: the corpus' card; with the labels of the data where the card gives none.
        stickers: those that can be used, in the order of the corpus' files.
        notes: one sentence each; worth knowing, no fault.
        problems: one sentence each; figures would be wrong.
        skipped: what was left out (a sticker's name) and why.
    """

    card: Card
    stickers: list[Sticker] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def skip(self, name: str, reason: str) -> None:
        """Leaves a sticker out."""
        self.skipped.append((printable(name), reason))


def summed_up(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """One clause per reason: how many, and the first names."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    return [f"{len(found)} ({reason}): {first(found)}" for reason, found in names.items()]


def first(names: Iterable[object], count: int = _NAMED) -> str:
    """The first few, with an ellipsis where there are more."""
    found = [str(name) for name in names]
    return ", ".join(found[:count]) + (", …" if len(found) > count else "")


def counted(values: Iterable[str]) -> str:
    """`2 × 'a', 1 × 'b'`, the most frequent first."""
    return first((f"{count} × {value!r}" for value, count in Counter(values).most_common()), 6)
