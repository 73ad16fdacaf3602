"""Subsets of a corpus: the same selection gives the same stickers for every prompt and model."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.pipeline.corpora.csv_text import read_text
from mghft.pipeline.corpora.sticker import Corpus, Sticker, normal_split
from mghft.pipeline.text import first_and_more, near, plural

_CONDITION = re.compile(r"([a-z]+)(!?=)(.+)", re.DOTALL)
_FIELDS: dict[str, Callable[[Sticker], str | None]] = {
    "label": lambda sticker: sticker.label_name,
    "topic": lambda sticker: sticker.topic,
    "split": lambda sticker: sticker.split,
    "subset": lambda sticker: sticker.subset,
    "source": lambda sticker: sticker.label_source,
    "text": lambda sticker: "yes" if sticker.text else "no",
}
# The field's name until now, which configurations and manifests may hold.
_EARLIER_FIELDS = {"part": "subset"}
_VALUES_SHOWN = 12


class Selection(BaseModel):
    """A subset of a corpus; the fields narrow it down in their order.

    Attributes:
        split: only this split.
        where: conditions like "label=anger,sadness" or "topic!=cats" (label, topic, split, subset, source,
            text); a sticker must fit all of them, and one of the values of each.
        ids: a file with one id a line.
        per_class: so many of every class, all of one that has fewer; none without a label.
        sample: so many of all.
        seed: of `per_class` and `sample`. Who is drawn depends on the ids and the seed alone, and a larger
            draw holds the smaller one, so growing a subset repeats no work.
        limit: the first ones of those that remain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str | None = None
    where: tuple[str, ...] = ()
    ids: Path | None = None
    per_class: int | None = Field(default=None, ge=1)
    sample: int | None = Field(default=None, ge=1)
    seed: int = 0
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_draw(self) -> Selection:
        if self.per_class is not None and self.sample is not None:
            raise ValueError("--per-class and --sample both draw stickers: give one of them")
        return self

    def choose(self, corpus: Corpus) -> list[Sticker]:
        """Return the stickers of the subset, in the order of the corpus.

        Raises:
            ValueError: a condition is malformed or names what does not exist, an id or the split is unknown,
                or no sticker is left.
            FileNotFoundError: the file of ids is missing.
        """
        stickers = list(corpus.stickers) if self.split is None else corpus.split(self.split)
        chosen = stickers
        for condition in self.where:
            chosen = _fitting(chosen, stickers, condition)
        if self.ids is not None:
            wanted = _read_ids(self.ids, stickers)
            chosen = [sticker for sticker in chosen if sticker.id in wanted]
        if stickers and not chosen:
            options = [f"--where {condition}" for condition in self.where]
            options += [] if self.ids is None else [f"--ids {self.ids}"]
            raise ValueError(f"no sticker fits {' and '.join(options)} together: loosen one of them")
        if self.per_class is not None:
            chosen = _balanced(chosen, self.per_class, self.seed)
        if self.sample is not None:
            chosen = _sampled(chosen, self.sample, self.seed)
        return chosen[: self.limit]

    def words(self) -> str:
        """Return the selection in a few words."""
        words = [] if self.split is None else [f"split {self.split}"]
        words += [f"where {condition}" for condition in self.where]
        words += [] if self.ids is None else [f"ids of {self.ids.name}"]
        for count, kind in ((self.per_class, "per class"), (self.sample, "drawn")):
            words += [] if count is None else [f"{count} {kind}, seed {self.seed}"]
        words += [] if self.limit is None else [f"first {self.limit}"]
        return ", ".join(words) or "all"


def class_counts(stickers: Sequence[Sticker]) -> dict[str, int]:
    """Count stickers by label name, sorted by name; those without a label under "(none)", last."""
    counts: defaultdict[str, int] = defaultdict(int)
    for sticker in stickers:
        counts["(none)" if sticker.label_name is None else sticker.label_name] += 1
    return dict(sorted(counts.items(), key=lambda item: (item[0] == "(none)", item[0])))


def _fitting(chosen: Sequence[Sticker], all_stickers: Sequence[Sticker], condition: str) -> list[Sticker]:
    """Return those of the chosen stickers that fit one condition."""
    match = _CONDITION.fullmatch(condition)
    field = "" if match is None else _EARLIER_FIELDS.get(match[1], match[1])
    if match is None or field not in _FIELDS:
        meant = near(field, _FIELDS)
        raise ValueError(
            f"--where is {condition!r}{meant}: give FIELD=VALUE or FIELD!=VALUE (several values "
            f"parted by commas) with the field {', '.join(_FIELDS)}"
        )
    _, sign, text = match.groups()
    value_of = _FIELDS[field]
    present = {value for sticker in all_stickers if (value := value_of(sticker)) is not None}
    if field == "text":
        present = {"yes", "no"}
    # A name may hold a comma itself; then it stands alone.
    wanted = {text} if text in present else {name.strip() for name in text.split(",")} - {""}
    if field == "split":
        wanted = {normal_split(name) for name in wanted}
    unknown = sorted(wanted - present)
    if unknown:
        shown = first_and_more(sorted(present), _VALUES_SHOWN) or "none"
        raise ValueError(
            f"--where {condition}: no sticker has the {field} {unknown[0]!r} (there is: {shown})"
        )
    return [sticker for sticker in chosen if (value_of(sticker) in wanted) == (sign == "=")]


def _read_ids(path: Path, stickers: Sequence[Sticker]) -> set[str]:
    if not path.is_file():
        raise FileNotFoundError(f"the file of ids {path} does not exist")
    known = {sticker.id for sticker in stickers}
    # Names may hold any sign but the end of a line, which has three spellings.
    lines = read_text(path, "list of ids")[0].replace("\r\n", "\n").split("\n")
    # A blank around a name is a slip, unless the corpus has a name with it.
    wanted = [line if line in known else line.strip() for line in lines if line.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        verb = "is" if len(unknown) == 1 else "are"
        raise ValueError(
            f"{plural(unknown, 'id')} of {path} {verb} not in the corpus, the first is {unknown[0]!r}"
        )
    return set(wanted)


def _sampled(stickers: Sequence[Sticker], count: int, seed: int) -> list[Sticker]:
    order = sorted(range(len(stickers)), key=lambda i: stickers[i].id)
    drawn = np.random.default_rng(seed).permutation(len(order))[:count]
    picked = {order[i] for i in drawn}
    return [sticker for i, sticker in enumerate(stickers) if i in picked]


def _balanced(stickers: Sequence[Sticker], count: int, seed: int) -> list[Sticker]:
    """Draw so many of each class; a sticker's place is a hash of seed and id, so no other moves it."""
    classes: defaultdict[str, list[Sticker]] = defaultdict(list)
    for sticker in stickers:
        if sticker.label_name is not None:
            classes[sticker.label_name].append(sticker)
    if not classes:
        raise ValueError("--per-class needs labels, and no sticker chosen has one: give --sample instead")

    def place(sticker: Sticker) -> bytes:
        return hashlib.sha256(f"{seed}\n{sticker.id}".encode("utf-8", "surrogateescape")).digest()

    picked = {sticker.id for members in classes.values() for sticker in sorted(members, key=place)[:count]}
    return [sticker for sticker in stickers if sticker.id in picked]
