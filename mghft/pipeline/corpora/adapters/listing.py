"""The result of an adapter: the stickers of a corpus, and what a person should know about this copy of it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mghft.pipeline.corpora.adapters.paths import leaving_note
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import write_text
from mghft.pipeline.text import first_and_more, printable

# Values, labels or columns that a message lists before "and n more".
VALUES_SHOWN = 6
NAMES_SHOWN = 20


@dataclass
class Listing:
    """A corpus as it lies on disk.

    Attributes:
        card: the corpus' card; with the labels of the data where the card gives none.
        stickers: those that can be used, in the order of the corpus' files.
        notes: one sentence each; worth knowing, no fault.
        problems: one sentence each; figures would be wrong.
        skipped: name and reason of every sticker that is left out.
        links: links out of the data folder, which are not followed; a note says so.
    """

    card: Card
    stickers: list[Sticker] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def skip(self, name: str, reason: str) -> None:
        """Leave a sticker out."""
        self.skipped.append((printable(name), reason))

    def note_links(self, links: Sequence[str], *, problem: bool = False) -> None:
        """Note links that lead out of the data folder; what is behind them is not read.

        Where folders are classes, a whole class may be lost, which is a problem.
        """
        if links:
            (self.problems if problem else self.notes).append(leaving_note(links))
            self.links += links


def summarize_skipped(skipped: Iterable[tuple[str, str]]) -> list[str]:
    """Return one clause per reason: how many were left out, and the first names."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in skipped:
        by_reason.setdefault(reason, []).append(name)
    return [f"{len(names)} ({reason}): {first_and_more(names)}" for reason, names in by_reason.items()]


def write_left_out(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write names and reasons of stickers that cannot be used as CSV."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "reason"])
    table.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())


def summarize_values(values: Iterable[str]) -> str:
    """Return how often each value occurs, the most frequent first: "2 × 'a', 1 × 'b'"."""
    counts = Counter(values).most_common()
    return first_and_more((f"{count} × {value!r}" for value, count in counts), VALUES_SHOWN)
