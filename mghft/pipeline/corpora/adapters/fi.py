"""FI by the index files of earlier projects: `["<Class>/<file>.jpg", number]`, numbers from 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.path_label_lists import PathLabel, read_path_label_lists
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.text import first_and_more, plural

_WHERE_TO_GET = (
    "SER30K's repository has them in other_dataset/FI; "
    "for images in class folders alone take the card 'folder'"
)


def read(card: Card, root: Path) -> Listing:
    """List FI.

    Raises:
        FileNotFoundError, ValueError: as in `read_path_label_lists`.
    """
    return read_path_label_lists(card, root, _order_labels, where_to_get=_WHERE_TO_GET)


def _order_labels(listing: Listing, rows: Sequence[PathLabel]) -> list[int]:
    """Return the card's order; the class folder in a path must say the same."""
    labels = listing.card.labels
    contradicting = [
        f"{row.path} has {row.number}"
        for row in rows
        if (folder := row.path.split("/")[0].casefold()) in labels and labels.index(folder) != row.number
    ]
    if contradicting:
        listing.problems.append(
            f"{plural(contradicting, 'row')} with another number than the class folder: "
            f"{first_and_more(contradicting)}"
        )
    return list(range(len(labels)))
