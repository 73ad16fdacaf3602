"""EmotionROI by the index files of earlier projects: `[number, path]`, numbers from 0.

Those files are in no repository that we know, so which number is which emotion is taken from the folders in
the paths where they tell, else from the alphabet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.path_label_lists import Pair, read_pairs
from mghft.pipeline.corpora.card import Card

_HINT = (
    "they came with the data of earlier projects (other_dataset/EmotionROI); "
    "for images in class folders alone take the card 'folder'"
)
_SAME = {"happiness": "joy", "happy": "joy", "angry": "anger", "disgusted": "disgust", "sad": "sadness"}


def read(card: Card, root: Path) -> Listing:
    """Lists EmotionROI.

    Raises:
        FileNotFoundError, ValueError: as in `read_pairs`.
    """
    return read_pairs(card, root, hint=_HINT, numbering=_numbering)


def _numbering(found: Listing, rows: Sequence[Pair]) -> list[int]:
    labels = found.card.labels
    told: dict[int, set[int]] = {}
    for pair in rows:
        for folder in pair.path.split("/")[:-1]:
            name = folder.casefold()
            name = name if name in labels else _SAME.get(name, name)
            if name in labels:
                told.setdefault(pair.number, set()).add(labels.index(name))
    default = list(range(len(labels)))
    if not told:
        found.notes.append(
            f"which number is which emotion is not known; read in alphabetical order, 0 {labels[0]} to "
            f"{len(labels) - 1} {labels[-1]}"
        )
        return default
    clear = {number: next(iter(names)) for number, names in told.items() if len(names) == 1}
    if set(clear) != set(default) or len(set(clear.values())) != len(labels):
        found.problems.append(
            "the folders in the paths contradict each other about the numbers of the labels, "
            "which are read in alphabetical order"
        )
        return default
    found.notes.append(
        "the numbers are those of the folders in the paths: "
        + ", ".join(f"{number} {labels[clear[number]]}" for number in default)
    )
    return [clear[number] for number in default]
