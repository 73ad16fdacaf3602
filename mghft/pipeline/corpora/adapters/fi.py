"""FI by the index files of earlier projects: `["<Class>/<file>.jpg", number]`, numbers from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.adapters.path_label_lists import Pair, read_pairs
from mghft.pipeline.corpora.card import Card

_HINT = (
    "SER30K's repository has them in other_dataset/FI; "
    "for images in class folders alone take the card 'folder'"
)


def read(card: Card, root: Path) -> Listing:
    """Lists FI.

    Raises:
        FileNotFoundError, ValueError: as in `read_pairs`.
    """
    return read_pairs(card, root, hint=_HINT, numbering=_numbering)


def _numbering(found: Listing, rows: Sequence[Pair]) -> list[int]:
    """The card's order; the class folder in a path must say the same."""
    labels = found.card.labels
    differ = [
        f"{pair.path} has {pair.number}"
        for pair in rows
        if (folder := pair.path.split("/")[0].casefold()) in labels and labels.index(folder) != pair.number
    ]
    if differ:
        found.problems.append(
            f"{len(differ)} rows have another number than their class folder: {first(differ)}"
        )
    return list(range(len(labels)))
