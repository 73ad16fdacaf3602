"""EmotionROI by the index files of earlier projects: `[number, path]`, numbers from 0.

Those files are in no repository that we know, so which number is which emotion is taken from the folders in
the paths where these name emotions, else from the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.path_label_lists import PathLabel, read_path_label_lists
from mghft.pipeline.corpora.card import Card

_WHERE_TO_GET = (
    "they came with the data of earlier projects (other_dataset/EmotionROI); "
    "for images in class folders alone take the card 'folder'"
)
_SYNONYMS = {"happiness": "joy", "happy": "joy", "angry": "anger", "disgusted": "disgust", "sad": "sadness"}


def read(card: Card, root: Path) -> Listing:
    """List EmotionROI.

    Raises:
        FileNotFoundError, ValueError: as in `read_path_label_lists`.
    """
    return read_path_label_lists(card, root, _order_labels, where_to_get=_WHERE_TO_GET)


def _order_labels(listing: Listing, rows: Sequence[PathLabel]) -> list[int]:
    """Return the label index of every number."""
    labels = listing.card.labels
    alphabetical = list(range(len(labels)))
    named = _labels_in_folders(labels, rows)
    if not named:
        listing.notes.append(
            f"which number is which emotion is not known; read in alphabetical order, 0 {labels[0]} to "
            f"{len(labels) - 1} {labels[-1]}"
        )
        return alphabetical
    order = {number: next(iter(found)) for number, found in named.items() if len(found) == 1}
    if set(order) != set(alphabetical) or len(set(order.values())) != len(labels):
        listing.problems.append(
            "the folders in the paths contradict each other about the numbers of the labels, "
            "which are read in alphabetical order"
        )
        return alphabetical
    listing.notes.append(
        "the numbers are those of the folders in the paths: "
        + ", ".join(f"{number} {labels[order[number]]}" for number in alphabetical)
    )
    return [order[number] for number in alphabetical]


def _labels_in_folders(labels: tuple[str, ...], rows: Sequence[PathLabel]) -> dict[int, set[int]]:
    """Return the labels that the folders in the paths name, by number."""
    named: dict[int, set[int]] = {}
    for row in rows:
        for folder in row.path.split("/")[:-1]:
            name = folder.casefold()
            name = name if name in labels else _SYNONYMS.get(name, name)
            if name in labels:
                named.setdefault(row.number, set()).add(labels.index(name))
    return named
