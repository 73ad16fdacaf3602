"""Corpora whose index is a JSON list of pairs, a path and a label's number, one file per split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.paths import MISSING, image_files, nearest_first, path_fault, walk_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Sticker, normal_split
from mghft.pipeline.text import first_and_more, one_line, plural, printable

# As the index files and the folders of images are named.
_SPLITS = ("train", "val", "test")


class PathLabel(NamedTuple):
    """One row of an index: a path with forward slashes, and the number of its label.

    `split` is train, val or test; `where` is the row's place in its file, for messages.
    """

    path: str
    number: int
    split: str
    where: str


# From the listing (for notes) and all rows, the label index of every number.
OrderLabels = Callable[[Listing, Sequence[PathLabel]], list[int]]


def read_path_label_lists(card: Card, root: Path, order_labels: OrderLabels, *, where_to_get: str) -> Listing:
    """List a corpus by its `train.json` and `test.json` (and `val.json`), which may lie at any depth.

    An image is looked for as the indexes of earlier projects mean it: below the root, below a folder of the
    split, or below any folder; of several, the one in the folder of the split.

    Args:
        card: names the labels.
        root: of the corpus.
        order_labels: tells which number is which label.
        where_to_get: where the indexes are to be had, for the message.

    Raises:
        FileNotFoundError: the index of train or test is missing.
        ValueError: an index has another shape.
    """
    listing = Listing(card)
    indexes = _find_indexes(card, root, where_to_get)
    rows = [row for split, file in indexes.items() for row in _read_index(file, split)]
    backslashes = sum("\\" in row.path for row in rows)
    if backslashes:
        listing.notes.append(f"{plural(backslashes, 'path')} written with backslashes, read as folders")
        rows = [row._replace(path=row.path.replace("\\", "/")) for row in rows]
    order = order_labels(listing, rows)
    links: list[str] = []
    images = _ImageLookup(image_files(root, links))
    listing.note_links(links)
    times: Counter[str] = Counter()
    duplicated: list[str] = []
    for row in rows:
        if not 0 <= row.number < len(order):
            raise ValueError(f"{row.where}: the label is {row.number}, expected 0 to {len(order) - 1}")
        path, fault = images.find(row.path, row.split)
        if path is None:
            listing.skip(f"{row.split}/{row.path}", fault)
            continue
        split, label = normal_split(row.split), order[row.number]
        name = printable(f"{split}/{row.path}")
        times[name] += 1
        sticker_id = name
        if times[name] > 1:
            duplicated.append(name)
            sticker_id = f"{name}#{times[name]}"
        listing.stickers.append(Sticker(sticker_id, path, split, label, card.labels[label]))
    if duplicated:
        listing.problems.append(
            f"{plural(duplicated, 'row')} for a duplicated image of the split, each a sticker of its own: "
            f"{first_and_more(duplicated)}"
        )
    if images.ambiguous:
        listing.notes.append(
            f"{plural(images.ambiguous, 'image')} found in several folders, the first is taken"
        )
    if "val" not in indexes:
        listing.notes.append(
            "there is no validation split: "
            "'mghft data split' with --keep test --ratio 9:1:0 makes one of train"
        )
    return listing


def _find_indexes(card: Card, root: Path, where_to_get: str) -> dict[str, Path]:
    """Return the index of each split: `train.json`, or TGCA-PVT's `train3.json`; the nearest to the root."""
    files = sorted((path for path in walk_files(root) if path.endswith(".json")), key=nearest_first)
    by_name: dict[str, str] = {}
    for path in files:
        by_name.setdefault(path.rpartition("/")[2].lower(), path)
    indexes = {
        split: root / index
        for split in _SPLITS
        if (index := by_name.get(f"{split}.json") or by_name.get(f"{split}3.json"))
    }
    lacking = [f"{split}.json" for split in ("train", "test") if split not in indexes]
    if lacking:
        raise FileNotFoundError(
            f"the corpus {card.name} needs {' and '.join(lacking)} somewhere below {root}, "
            f"which does not exist: {where_to_get}"
        )
    return indexes


def _read_index(file: Path, split: str) -> list[PathLabel]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({one_line(error)})") from None
    if not isinstance(rows, list):
        raise ValueError(f"{file} is no JSON list of pairs")
    return [_parse_row(row, split, f"{file}, row {number}") for number, row in enumerate(rows)]


def _parse_row(row: Any, split: str, where: str) -> PathLabel:
    """Read [path, number] or [number, path]: both are in use, and the number is the label."""
    if isinstance(row, list) and len(row) == 2:
        for path, number in (row, reversed(row)):
            if isinstance(path, str) and not path.strip().isdecimal() and _is_number(number):
                return PathLabel(path, int(number), split, where)
    raise ValueError(f"{where}: this is no pair of a path and a number: {json.dumps(row)[:100]}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())


class _ImageLookup:
    """The images of a corpus by the end of their path.

    Attributes:
        ambiguous: how many rows fit several images.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = set(paths)
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)
        self.ambiguous = 0

    def find(self, path: str, split: str) -> tuple[str | None, str]:
        """Return the path as it is on disk, or None and why: it is unsafe, or the file does not exist."""
        if fault := path_fault(path):
            return None, fault
        path = path.removeprefix("./")
        if f"{split}/{path}" in self._paths:
            return f"{split}/{path}", ""
        if path in self._paths:
            return path, ""
        fitting = [
            image for image in self._by_name.get(path.rpartition("/")[2], []) if image.endswith(f"/{path}")
        ]
        if not fitting:
            return None, MISSING
        in_split = [image for image in fitting if f"/{split}/" in f"/{image}"]
        chosen = in_split or fitting
        self.ambiguous += len(chosen) > 1
        return chosen[0], ""
