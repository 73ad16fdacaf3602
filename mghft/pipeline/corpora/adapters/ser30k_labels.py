"""SER30K's numbers: which emotion each of 1 to 7 is, by the files' own `categories` where they have them.

No source shows that block, so every shape in use elsewhere is understood, and a note tells what was taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.corpora.adapters.listing import Listing

_SYNONYMS = {
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}


class AnnotationFile(NamedTuple):
    """One JSON of the corpus: its rows, and its block `categories` (None: it has none)."""

    path: Path
    annotations: list[Any]
    categories: Any


def read_annotations(path: Path) -> AnnotationFile:
    """Read an object with a list `annotations`.

    Raises:
        ValueError: the file has another shape.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content["annotations"], list):
            raise TypeError
        return AnnotationFile(path, content["annotations"], content.get("categories"))
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no JSON object with a list 'annotations' ({type(error).__name__})"
        ) from None


def read_number(value: Any) -> int:
    """Return a label's number: 4.0 and "4" are 4.

    Raises:
        ValueError, TypeError, OverflowError: the value is no whole number.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError(f"anno: {value!r} is no number")
    number = int(value)
    if isinstance(value, float) and value != number:
        raise ValueError(f"anno: {value!r} is no whole number")
    return number


def label_order(listing: Listing, base: Path, files: Sequence[AnnotationFile]) -> list[int]:
    """Return the label index of each number from 1: by the files' `categories`, or else the card's order.

    Args:
        listing: gets notes and problems.
        base: the folder that holds `Annotations`, maybe with an `all_annos.json`.
        files: of the splits.
    """
    labels = listing.card.labels
    card_order = list(range(len(labels)))
    for file in [*_read_all_annos(listing, base, files), *files]:
        if not file.categories:
            continue
        order = parse_categories(file.categories, labels)
        if order is None:
            listing.problems.append(
                f"the categories in {file.path.name} cannot be understood "
                f"({json.dumps(file.categories)[:200]}): "
                f"the numbers are read in the card's order, {', '.join(labels)}"
            )
            continue
        if order == card_order:
            listing.notes.append(f"the categories in {file.path.name} agree with the card's order of labels")
        else:
            names = ", ".join(f"{number} {labels[label]}" for number, label in enumerate(order, start=1))
            listing.notes.append(f"the numbers are read by the categories in {file.path.name}: {names}")
        return order
    return card_order


def parse_categories(block: Any, labels: tuple[str, ...]) -> list[int] | None:
    """Return label indices by number from 1, from any of the shapes in use; None: it is another.

    Shapes: [{"id": 1, "name": "anger"}, …], {"1": "anger", …}, {"anger": 1, …}, ["anger", …]; numbers that
    begin at 0 are moved up by one, since those of the rows begin at 1.
    """
    pairs: list[tuple[Any, Any]] = []
    if isinstance(block, dict):
        pairs = list(block.items())
    elif isinstance(block, list) and all(isinstance(item, str) for item in block):
        pairs = list(enumerate(block, start=1))
    elif isinstance(block, list) and all(isinstance(item, dict) for item in block):
        pairs = [(item.get("id"), item.get("name")) for item in block]
    by_number: dict[int, int] = {}
    for key, value in pairs:
        name, number = (value, key) if _find_label(key, labels) is None else (key, value)
        label = _find_label(name, labels)
        try:
            place = read_number(number)
        except (TypeError, ValueError, OverflowError):
            return None
        if label is None or place in by_number:
            return None
        by_number[place] = label
    start = min(by_number, default=-1)
    numbers = range(start, start + len(labels))
    if start not in (0, 1) or set(by_number) != set(numbers) or len(set(by_number.values())) != len(labels):
        return None
    return [by_number[number] for number in numbers]


def _read_all_annos(listing: Listing, base: Path, files: Sequence[AnnotationFile]) -> list[AnnotationFile]:
    """Read the files of all splits together that some copies have; the more deeply nested one goes first."""
    rows = sum(len(file.annotations) for file in files)
    whole = []
    for folder in (base / "Annotations" / "image-level", base / "Annotations"):
        path = folder / "all_annos.json"
        if not path.is_file():
            continue
        try:
            file = read_annotations(path)
        except ValueError as error:
            listing.notes.append(f"{error}; nothing but its categories would have been used")
            continue
        whole.append(file)
        if rows != len(file.annotations):
            listing.notes.append(
                f"{path.name} has {len(file.annotations):,} rows, the files of the splits {rows:,}"
            )
    return whole


def _find_label(name: Any, labels: tuple[str, ...]) -> int | None:
    if not isinstance(name, str):
        return None
    plain = name.strip().casefold()
    plain = plain if plain in labels else _SYNONYMS.get(plain, plain)
    return labels.index(plain) if plain in labels else None
