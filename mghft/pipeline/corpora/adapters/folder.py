"""One folder per class, or one per split and class in it; files in sorted order."""

from __future__ import annotations

from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN, Listing
from mghft.pipeline.corpora.adapters.paths import image_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLITS, Sticker, label_index, normal_split
from mghft.pipeline.text import first_and_more, printable


def read(card: Card, root: Path) -> Listing:
    """List the images; a class is the name of its folder, those of the data where the card gives none.

    Raises:
        ValueError: a folder is no label of the card.
    """
    listing = Listing(card)
    paths = [path for path in image_files(root) if "/" in path]
    if not card.labels:
        _take_labels(listing, paths)
    labels = listing.card.labels
    indices = {name: index for index, name in enumerate(labels)}
    for path in paths:
        split, folder = _split_and_class(path, labels)
        name = printable(folder)
        label = indices.get(name)
        if label is None:
            label = label_index(listing.card, name, printable(str(root / path)))
        listing.stickers.append(Sticker(printable(path), path, split, label, name))
    return listing


def _take_labels(listing: Listing, paths: list[str]) -> None:
    """Give the card the labels of the data."""
    labels = tuple(sorted({printable(_split_and_class(path, ())[1]) for path in paths}))
    if paths and len(labels) < 2:
        raise ValueError(
            f"the images all lie in one folder, {labels[0]!r}: put each class into a folder of its own, "
            "or give a table of labels"
        )
    listing.notes.append(
        f"{len(labels)} labels found in the folders' names: {first_and_more(labels, NAMES_SHOWN)}"
    )
    listing.card = listing.card.model_copy(update={"labels": labels})


def _split_and_class(path: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """Return the split and the class's folder of `split/…/class/file` or `class/…/file`.

    The names of the folders tell which of the two it is: a split's or a label's is known.
    """
    top, *folders, _ = path.split("/")
    split = normal_split(printable(top))
    if folders and labels and printable(folders[-1]) in labels:
        return split, folders[-1]
    if folders and split in SPLITS:
        return split, folders[0]
    return "all", top
