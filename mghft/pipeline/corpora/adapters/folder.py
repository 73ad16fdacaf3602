"""One folder per class, or one per split and class in it; files in sorted order."""

from __future__ import annotations

from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.adapters.paths import image_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLIT_NAMES, Sticker, label_index
from mghft.pipeline.text import printable

_SPLITS = {"train", "training", "validation", "test", "testing", *SPLIT_NAMES}
_OTHER_NAMES = {"training": "train", "testing": "test"}


def read(card: Card, root: Path) -> Listing:
    """Lists the images; a class is the name of its folder, those of the data where the card gives none.

    Raises:
        ValueError: a folder is no label of the card.
    """
    found = Listing(card)
    paths = [path for path in image_files(root) if "/" in path]
    if not card.labels:
        card = _with_labels(found, paths)
    numbers = {name: number for number, name in enumerate(card.labels)}
    for path in paths:
        split, folder = _split_and_label(path, card.labels)
        name = printable(folder)
        label = numbers.get(name)
        if label is None:
            label = label_index(card, name, printable(str(root / path)))
        found.stickers.append(Sticker(printable(path), path, printable(split), label, name))
    return found


def _with_labels(found: Listing, paths: list[str]) -> Card:
    labels = tuple(sorted({printable(_split_and_label(path, ())[1]) for path in paths}))
    if paths and len(labels) < 2:
        raise ValueError(
            f"the images all lie in one folder, {labels[0]!r}: put each class into a folder of its own, "
            "or give a table of labels"
        )
    found.notes.append(f"{len(labels)} labels found in the folders' names: {first(labels, 20)}")
    found.card = found.card.model_copy(update={"labels": labels})
    return found.card


def _split_and_label(path: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """`split/…/class/file` or `class/…/file`; which of them, the names of the folders tell."""
    top, *folders, _ = path.split("/")
    if not folders:
        return "all", top
    if top.lower() in _SPLITS:
        plain = _OTHER_NAMES.get(top.lower(), top.lower())
        # Below a split the class is the first folder, unless the card knows the innermost by name.
        name = folders[-1] if labels and printable(folders[-1]) in labels else folders[0]
        return SPLIT_NAMES.get(plain, plain), name
    if labels and printable(folders[-1]) in labels:
        return top, folders[-1]
    return "all", top
