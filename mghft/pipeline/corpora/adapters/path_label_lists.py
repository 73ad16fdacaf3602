"""Corpora whose index is a JSON list of pairs, a path and a label's number, one file per split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.adapters.paths import image_files, unsafe, walk_files
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import SPLIT_NAMES, Sticker
from mghft.pipeline.text import printable

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Pair:
    """One row: a path with forward slashes as the index gives it, and the number."""

    path: str
    number: int
    split: str
    where: str


def read_pairs(
    card: Card, root: Path, *, hint: str, numbering: Callable[[Listing, Sequence[Pair]], list[int]]
) -> Listing:
    """Lists a corpus by its `train.json` and `test.json` (and `val.json`), which may lie at any depth.

    An image is looked for as the indexes of earlier projects mean it: below the root, below a folder of the
    split, or below any folder; of several, the one in the folder of the split.

    Args:
        card: names the labels.
        root: of the corpus.
        hint: where the indexes are to be had, for the message.
        numbering: from all rows, the label index of every number.

    Raises:
        FileNotFoundError: the index of train or test is missing.
        ValueError: an index has another shape.
    """
    found = Listing(card)
    files = _indexes(card, root, hint)
    rows = [pair for split, file in files.items() for pair in _rows(file, split)]
    backslashes = sum("\\" in pair.path for pair in rows)
    if backslashes:
        found.notes.append(f"{backslashes} paths are written with backslashes, read as folders")
        rows = [Pair(pair.path.replace("\\", "/"), *_rest(pair)) for pair in rows]
    order = numbering(found, rows)
    images = _Images(image_files(root))
    times: dict[str, int] = {}
    again: list[str] = []
    for pair in rows:
        if not 0 <= pair.number < len(order):
            raise ValueError(f"{pair.where}: the label is {pair.number}, expected 0 to {len(order) - 1}")
        path, reason = images.find(pair.path, pair.split)
        if path is None:
            found.skip(f"{pair.split}/{pair.path}", reason)
            continue
        name = printable(f"{SPLIT_NAMES.get(pair.split, pair.split)}/{pair.path}")
        times[name] = times.get(name, 0) + 1
        if times[name] > 1:
            again.append(name)
            name = f"{name}#{times[name]}"
        label = order[pair.number]
        split = SPLIT_NAMES.get(pair.split, pair.split)
        found.stickers.append(Sticker(name, path, split, label, card.labels[label]))
    if again:
        found.problems.append(
            f"{len(again)} rows name an image of their split again; each is a sticker of its own: "
            f"{first(again)}"
        )
    if images.ambiguous:
        found.notes.append(f"{images.ambiguous} images are there in several folders, the first is taken")
    if "val" not in files:
        found.notes.append(
            "there is no validation split: "
            "'mghft data split' with --keep test --ratio 9:1:0 makes one of train"
        )
    return found


def _rest(pair: Pair) -> tuple[int, str, str]:
    return pair.number, pair.split, pair.where


def _indexes(card: Card, root: Path, hint: str) -> dict[str, Path]:
    """The index of each split: `train.json`, or TGCA-PVT's `train3.json`; the nearest to the root."""
    there = sorted(
        (path for path in walk_files(root) if path.endswith(".json")),
        key=lambda path: (path.count("/"), path),
    )
    found: dict[str, Path] = {}
    for split in _SPLITS:
        for name in (f"{split}.json", f"{split}3.json"):
            path = next((path for path in there if path.rpartition("/")[2].lower() == name), None)
            if path is not None:
                found[split] = root / path
                break
    lacking = [f"{split}.json" for split in ("train", "test") if split not in found]
    if lacking:
        raise FileNotFoundError(
            f"the corpus {card.name} needs {' and '.join(lacking)} somewhere below {root}, "
            f"which does not exist: {hint}"
        )
    return found


def _rows(file: Path, split: str) -> list[Pair]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({' '.join(str(error).split())})") from None
    if not isinstance(rows, list):
        raise ValueError(f"{file} is no JSON list of pairs")
    return [_pair(row, split, f"{file}, row {number}") for number, row in enumerate(rows)]


def _pair(row: Any, split: str, where: str) -> Pair:
    """[path, number] and [number, path] are both in use; the one that is a number is the label."""
    if isinstance(row, list) and len(row) == 2:
        for path, number in (row, reversed(row)):
            if isinstance(path, str) and not path.strip().isdecimal() and _is_number(number):
                return Pair(path, int(number), split, where)
    raise ValueError(f"{where}: this is no pair of a path and a number: {json.dumps(row)[:100]}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())


class _Images:
    """Images by the end of their path."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._exact = set(paths)
        self._by_name: dict[str, list[str]] = {}
        for path in paths:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)
        self.ambiguous = 0

    def find(self, path: str, split: str) -> tuple[str | None, str]:
        if reason := unsafe(path):
            return None, reason
        path = path.removeprefix("./")
        if f"{split}/{path}" in self._exact:
            return f"{split}/{path}", ""
        if path in self._exact:
            return path, ""
        ends = [one for one in self._by_name.get(path.rpartition("/")[2], []) if one.endswith(f"/{path}")]
        if not ends:
            return None, "its image is missing"
        ours = [one for one in ends if f"/{split}/" in f"/{one}"]
        self.ambiguous += len(ours or ends) > 1
        return (ours or ends)[0], ""
