"""One folder per class, or one per split and class in it; files in sorted order."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN, Listing
from mghft.pipeline.corpora.adapters.paths import is_image_name, leaving_note, walk_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLITS, Sticker, label_index, normal_split
from mghft.pipeline.text import first_and_more, plural, printable


def read(card: Card, root: Path) -> Listing:
    """List the images; a class is the name of its folder, those of the data where the card gives none.

    Raises:
        ValueError: a folder is no label of the card.
    """
    listing = Listing(card)
    links: list[str] = []
    files = sorted(walk_files(root, links), key=lambda path: path.split("/"))
    listing.note_links(links, problem=True)
    paths = [path for path in files if "/" in path and is_image_name(path)]
    paths = _leave_out(listing, files, paths)
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


def _leave_out(listing: Listing, files: list[str], paths: list[str]) -> list[str]:
    """Return the images that lie in a class's folder, and say what else there is.

    Raises:
        ValueError: the images lie in the folders of splits, without classes.
    """
    bare = [path for path in paths if path.count("/") == 1 and _is_split(path.partition("/")[0])]
    if listing.card.labels:
        bare = [path for path in bare if printable(path.partition("/")[0]) not in listing.card.labels]
    if bare and len(bare) == len(paths):
        splits = first_and_more(sorted({path.partition("/")[0] for path in bare}))
        raise ValueError(
            f"the images lie in the folders of splits ({splits}) and in no folder of a class: put each class "
            "into a folder of its own, or use the card 'table' with a table of labels (a metadata.jsonl of "
            "every split, joined to one with the splits in its paths)"
        )
    for path in bare:
        listing.skip(path, "it lies in the folder of a split, not in that of a class")
    at_root = [path for path in files if "/" not in path and is_image_name(path)]
    if at_root:
        listing.notes.append(
            f"left out, {plural(at_root, 'image')} beside the classes' folders: {first_and_more(at_root)}"
        )
    others = Counter(
        os.path.splitext(path)[1].lower() or "without a suffix"  # noqa: PTH122 - as fast as the listing
        for path in files
        if "/" in path and not is_image_name(path)
    )
    if others:
        kinds = first_and_more(f"{count} {suffix}" for suffix, count in others.most_common())
        listing.notes.append(
            f"left out, {plural(others.total(), 'file')} without the suffix of an image that is read: {kinds}"
        )
    left_out = set(bare)
    return [path for path in paths if path not in left_out]


def _is_split(folder: str) -> bool:
    return normal_split(printable(folder)) in SPLITS


def _take_labels(listing: Listing, paths: list[str]) -> None:
    """Give the card the labels of the data."""
    labels = tuple(sorted({printable(_split_and_class(path, ())[1]) for path in paths}))
    if paths and len(labels) < 2:
        raise ValueError(
            f"the images all lie in one folder, {labels[0]!r}: put each class into a folder of its own, "
            "or give a table of labels" + (f"; {leaving_note(listing.links)}" if listing.links else "")
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
