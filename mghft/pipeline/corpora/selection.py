"""Parts of a corpus: the same choice gives the same stickers for every prompt and model."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mghft.pipeline.corpora.sticker import Sticker, normal_split

_CONDITION = re.compile(r"([a-z]+)(!?=)(.+)", re.DOTALL)
_FIELDS: dict[str, Callable[[Sticker], str | None]] = {
    "label": lambda sticker: sticker.label_name,
    "topic": lambda sticker: sticker.topic,
    "split": lambda sticker: sticker.split,
    "subset": lambda sticker: sticker.subset,
    "text": lambda sticker: "yes" if sticker.text else "no",
}
# The field's name until now, which configurations and manifests may hold.
_OTHER_FIELDS = {"part": "subset"}
_VALUES_SHOWN = 12


def select(
    stickers: Sequence[Sticker],
    *,
    where: Sequence[str] = (),
    ids: Path | None = None,
    per_class: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> list[Sticker]:
    """A part of a corpus; what is given works in this order, and the order of the corpus is kept.

    Args:
        stickers: of a corpus or of one split.
        where: conditions like "label=anger,sadness" or "topic!=cats" (label, topic, split, subset, text); a
            sticker must fit all of them, and one of the values of each.
        ids: a file with one id a line.
        per_class: so many of every class, all of one that has fewer; none without a label.
        sample: so many of all.
        seed: of `per_class` and `sample`. Who is drawn depends on the ids and the seed alone, and a larger
            draw holds the smaller one, so growing a subset repeats no work.
        limit: the first ones of what is left.

    Raises:
        ValueError: a count is not positive, a condition is malformed or names what does not exist, an id is
            unknown, or no sticker is left.
        FileNotFoundError: the file of ids is missing.
    """
    for name, count in (("--limit", limit), ("--sample", sample), ("--per-class", per_class)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
    if per_class is not None and sample is not None:
        raise ValueError("--per-class and --sample both draw stickers: give one of them")
    chosen = list(stickers)
    for condition in where:
        chosen = _fitting(chosen, stickers, condition)
    if ids is not None:
        keep = _read_ids(ids, stickers)
        chosen = [sticker for sticker in chosen if sticker.id in keep]
    if stickers and not chosen:
        given = [f"--where {condition}" for condition in where] + ([f"--ids {ids}"] if ids else [])
        raise ValueError(f"no sticker fits {' and '.join(given)} together: loosen one of them")
    if per_class is not None:
        chosen = _balanced(chosen, per_class, seed)
    if sample is not None:
        order = sorted(range(len(chosen)), key=lambda i: chosen[i].id)
        drawn = np.random.default_rng(seed).permutation(len(order))[:sample]
        picked = {order[i] for i in drawn}
        chosen = [sticker for i, sticker in enumerate(chosen) if i in picked]
    return chosen[:limit]


def class_counts(stickers: Sequence[Sticker]) -> dict[str, int]:
    """Stickers by label name, sorted by name; those without a label under "(none)", last."""
    counts: defaultdict[str, int] = defaultdict(int)
    for sticker in stickers:
        counts["(none)" if sticker.label_name is None else sticker.label_name] += 1
    return dict(sorted(counts.items(), key=lambda item: (item[0] == "(none)", item[0])))


def _fitting(chosen: Sequence[Sticker], all_stickers: Sequence[Sticker], condition: str) -> list[Sticker]:
    """Those of the chosen stickers that fit one condition."""
    found = _CONDITION.fullmatch(condition)
    field = "" if found is None else _OTHER_FIELDS.get(found[1], found[1])
    if found is None or field not in _FIELDS:
        raise ValueError(
            f"--where is {condition!r}: give FIELD=VALUE or FIELD!=VALUE (several values "
            f"parted by commas) with the field {', '.join(_FIELDS)}"
        )
    _, sign, text = found.groups()
    value = _FIELDS[field]
    there = {one for sticker in all_stickers if (one := value(sticker)) is not None}
    if field == "text":
        there = {"yes", "no"}
    # A name may hold a comma itself; then it stands alone.
    wanted = {text} if text in there else {part.strip() for part in text.split(",")} - {""}
    if field == "split":
        wanted = {normal_split(name) for name in wanted}
    unknown = sorted(wanted - there)
    if unknown:
        have = sorted(there)
        more = f" and {len(have) - _VALUES_SHOWN} more" if len(have) > _VALUES_SHOWN else ""
        shown = ", ".join(have[:_VALUES_SHOWN]) + more or "none"
        raise ValueError(
            f"--where {condition}: no sticker has the {field} {unknown[0]!r} (there is: {shown})"
        )
    return [sticker for sticker in chosen if (value(sticker) in wanted) == (sign == "=")]


def _read_ids(path: Path, stickers: Sequence[Sticker]) -> set[str]:
    if not path.is_file():
        raise FileNotFoundError(f"the file of ids {path} does not exist")
    try:
        wanted = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"the file of ids {path} is not UTF-8 text") from None
    known = {sticker.id for sticker in stickers}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"{len(unknown)} ids of {path} are not in the corpus, the first is {unknown[0]!r}")
    return set(wanted)


def _balanced(stickers: Sequence[Sticker], count: int, seed: int) -> list[Sticker]:
    """So many of each class; a sticker's place in the draw is a hash of seed and id, so no other moves it."""
    classes: defaultdict[str, list[Sticker]] = defaultdict(list)
    for sticker in stickers:
        if sticker.label_name is not None:
            classes[sticker.label_name].append(sticker)
    if not classes:
        raise ValueError("--per-class needs labels, and no sticker chosen has one: give --sample instead")

    def place(sticker: Sticker) -> bytes:
        return hashlib.sha256(f"{seed}\n{sticker.id}".encode("utf-8", "surrogateescape")).digest()

    picked = {sticker.id for some in classes.values() for sticker in sorted(some, key=place)[:count]}
    return [sticker for sticker in stickers if sticker.id in picked]
