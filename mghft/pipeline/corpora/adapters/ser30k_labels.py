"""SER30K's numbers: which emotion each of 1 to 7 is, by the files' own `categories` where they have them.

No source shows that block, so every shape in use elsewhere is understood, and what was found is said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.listing import Listing

Tops = dict[str, tuple[Path, dict[str, Any]]]
_SAME = {"angry": "anger", "disgusted": "disgust", "afraid": "fear", "fearful": "fear", "happy": "happiness"}
_SAME |= {"joy": "happiness", "sad": "sadness", "surprised": "surprise"}


def read_json(file: Path) -> dict[str, Any]:
    """An object with a list `annotations`.

    Raises:
        ValueError: the file has another shape.
    """
    try:
        top = json.loads(file.read_text(encoding="utf-8-sig"))
        if not isinstance(top["annotations"], list):
            raise TypeError
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"{file} is no JSON object with a list 'annotations' ({type(error).__name__})"
        ) from None
    result: dict[str, Any] = top
    return result


def read_number(value: Any) -> int:
    """A label's number; 4.0 and "4" are 4, a yes or a half is none."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"anno: {value!r} is no number")
    number = int(value)
    if isinstance(value, float) and value != number:
        raise ValueError(f"anno: {value!r} is no whole number")
    return number


def categories(found: Listing, base: Path, tops: Tops) -> list[int]:
    """Label index of each number from 1, by the files' own `categories` or else by the card's order."""
    default = list(range(len(found.card.labels)))
    places = [
        base / "Annotations" / "all_annos.json",
        base / "Annotations" / "image-level" / "all_annos.json",
    ]
    blocks = [(file, top.get("categories")) for file, top in tops.values()]
    for file in places:
        if file.is_file():
            try:
                top = read_json(file)
            except ValueError as error:
                found.notes.append(f"{error}; nothing but its categories would have been used")
                continue
            blocks.insert(0, (file, top.get("categories")))
            rows = sum(len(one["annotations"]) for _, one in tops.values())
            if rows != len(top["annotations"]):
                found.notes.append(
                    f"{file.name} has {len(top['annotations']):,} rows, the files of the splits {rows:,}"
                )
    for file, block in blocks:
        if not block:
            continue
        numbers = categories_order(block, found.card.labels)
        if numbers is None:
            found.problems.append(
                f"the categories in {file.name} cannot be understood ({json.dumps(block)[:200]}): "
                f"the numbers are read in the card's order, {', '.join(found.card.labels)}"
            )
            continue
        if numbers != default:
            names = ", ".join(f"{i + 1} {found.card.labels[label]}" for i, label in enumerate(numbers))
            found.notes.append(f"the numbers are read by the categories in {file.name}: {names}")
        else:
            found.notes.append(f"the categories in {file.name} agree with the card's order of labels")
        return numbers
    return default


def categories_order(block: Any, labels: tuple[str, ...]) -> list[int] | None:
    """Label indices by number from 1, from any of the shapes in use; None: it is another.

    Shapes: [{"id": 1, "name": "anger"}, …], {"1": "anger", …}, {"anger": 1, …}, ["anger", …]; numbers that
    begin at 0 are moved up by one, since those of the rows begin at 1.
    """
    pairs: list[tuple[Any, Any]] = []
    if isinstance(block, dict):
        pairs = list(block.items())
    elif isinstance(block, list) and all(isinstance(one, str) for one in block):
        pairs = [(i + 1, name) for i, name in enumerate(block)]
    elif isinstance(block, list) and all(isinstance(one, dict) for one in block):
        pairs = [(one.get("id"), one.get("name")) for one in block]
    by_number: dict[int, int] = {}
    for one, other in pairs:
        name, number = (one, other) if _known(one, labels) is not None else (other, one)
        label = _known(name, labels)
        try:
            place = read_number(number)
        except (TypeError, ValueError, OverflowError):
            return None
        if label is None or place in by_number:
            return None
        by_number[place] = label
    start = min(by_number, default=-1)
    wanted = range(start, start + len(labels))
    if start not in (0, 1) or set(by_number) != set(wanted) or len(set(by_number.values())) != len(labels):
        return None
    return [by_number[number] for number in wanted]


def _known(name: Any, labels: tuple[str, ...]) -> int | None:
    if not isinstance(name, str):
        return None
    plain = name.strip().casefold()
    plain = plain if plain in labels else _SAME.get(plain, plain)
    return labels.index(plain) if plain in labels else None
