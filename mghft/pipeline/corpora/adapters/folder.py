"""One folder per class, or one per split and class in it; files in sorted order."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN, Listing
from mghft.pipeline.corpora.adapters.paths import is_image_name, leaving_note, walk_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLITS, Sticker, label_index, normal_split
from mghft.pipeline.images.kinds import is_image_file
from mghft.pipeline.text import first_and_more, plural, printable

# A suffix has a letter in it and is short: what follows the last dot of other names is none.
_SUFFIX = re.compile(r"(?<=.)\.(?=\d*[A-Za-z])[A-Za-z0-9]{1,5}$")


def read(card: Card, root: Path) -> Listing:
    """List the images; a class is the name of its folder, those of the data where the card gives none.

    Raises:
        ValueError: a folder is no label of the card.
    """
    listing = Listing(card)
    links: list[str] = []
    files = sorted(walk_files(root, links), key=lambda path: path.split("/"))
    listing.note_links(links, problem=True)
    bare = {path for path in files if "/" in path and _has_no_suffix(path) and is_image_file(root, path)}
    if bare:
        listing.notes.append(
            f"{plural(bare, 'file')} without a suffix taken, images by their content: "
            f"{first_and_more(sorted(map(printable, bare)))}"
        )
    paths = [path for path in files if "/" in path and (is_image_name(path) or path in bare)]
    paths = _leave_out(listing, files, paths)
    if not card.labels:
        _take_labels(listing, paths, root)
    labels = listing.card.labels
    indices = {name: index for index, name in enumerate(labels)}
    for path in paths:
        split, folder = _split_and_class(path, labels)
        name = printable(folder)
        label = indices.get(name)
        if label is None:
            label = label_index(listing.card, name, printable(str(root / path)))
        listing.stickers.append(Sticker(printable(path), path, split, label, name))
    _note_depth(listing, paths, root)
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
    taken = {*paths}
    others = Counter(
        "without a suffix" if _has_no_suffix(path) else os.path.splitext(path)[1].lower()  # noqa: PTH122
        for path in files
        if "/" in path and not is_image_name(path) and path not in taken
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


def _note_depth(listing: Listing, paths: list[str], root: Path) -> None:
    """Say that a folder more than expected lies above the classes, or seems to.

    A card's labels tell for sure; without them, no image in any class' own folder is a hint.
    """
    splits = {sticker.split for sticker in listing.stickers}
    if strange := sorted(splits - {*SPLITS, "all"}):
        named = first_and_more(strange)
        listing.notes.append(
            f"{plural(strange, 'folder')} above the classes taken for splits though not named so: {named}: "
            f"{_way_out(root, strange)}"
        )
    elif splits == {"all"} and paths and all(path.count("/") > 1 for path in paths):
        path = printable(paths[0])
        listing.notes.append(
            f"all images lie deeper than in the folders taken for classes ({path}): if the classes are the "
            f"folders below, {_way_out(root, sorted({one.partition('/')[0] for one in paths}))}"
        )


def _way_out(root: Path, folders: list[str]) -> str:
    """Return what to give instead where the corpus lies in one of these folders."""
    inner = printable(str(root / folders[0]))
    return f"give --data {inner}" if len(folders) == 1 else f"give one of them with --data, as {inner}"


def _has_no_suffix(path: str) -> bool:
    """Return whether a name ends in no suffix: `smile`, `Mr. Bean`, `v1.2`."""
    return _SUFFIX.search(path.rpartition("/")[2]) is None


def _take_labels(listing: Listing, paths: list[str], root: Path) -> None:
    """Give the card the labels of the data."""
    labels = tuple(sorted({printable(_split_and_class(path, ())[1]) for path in paths}))
    if paths and len(labels) < 2:
        raise ValueError(
            f"the images all lie in one folder, {labels[0]!r}: put each class into a folder of its own, "
            f"or give a table of labels{_inner_folders(paths, root)}"
            + (f"; {leaving_note(listing.links)}" if listing.links else "")
        )
    listing.notes.append(
        f"{len(labels)} labels found in the folders' names: {first_and_more(labels, NAMES_SHOWN)}"
    )
    listing.card = listing.card.model_copy(update={"labels": labels})


def _inner_folders(paths: list[str], root: Path) -> str:
    """Return a clause on the folders inside the only one, which may be the classes or splits."""
    inner = sorted({printable(path.split("/")[1]) for path in paths if path.count("/") > 1})
    tops = sorted({path.partition("/")[0] for path in paths})
    if len(inner) < 2 or len(tops) > 1:
        return ""
    return f"; if {first_and_more(inner)} in it are the classes or splits, {_way_out(root, tops)}"


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
