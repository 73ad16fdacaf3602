"""Data cards: one Markdown file per corpus, whose front matter is all that the adapters know about it.

A card is a Hugging Face dataset card; its `mghft:` block says how the corpus lies on disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

CARDS_FOLDER = Path(__file__).resolve().parents[2] / "data_cards"
_FRONT_MATTER = re.compile(r"\s*^---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_REFERENCE = re.compile(
    r"(?P<card>.*?\.md|[^:@]*)(?P<variants>(?::[A-Za-z0-9_-]+)*)(?:@(?P<splits>.+))?", re.DOTALL
)


class Columns(BaseModel):
    """Which column of a table holds what; None where the corpus has no such column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str | None = None
    split: str | None = None
    text: str | None = None
    part: str | None = None


class Task(BaseModel):
    """One of several labels that a corpus gives every sticker.

    Attributes:
        column: header of its column.
        labels: names in the order of their numbers.
        first: number of the first label.
        aliases: other spellings found in the files, each to a label.
        counts: stickers per label and language in a whole copy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    labels: tuple[str, ...] = Field(min_length=2)
    first: int = 1
    aliases: dict[str, str] = Field(default_factory=dict)
    counts: dict[Literal["en", "zh"], tuple[int, ...]] = Field(default_factory=dict)


class MetMeme(BaseModel):
    """What is read of MET-Meme: which languages, and which task's labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[Literal["en", "zh"], ...] = Field(default=("en", "zh"), min_length=1)
    task: str
    tasks: dict[str, Task]

    @model_validator(mode="after")
    def _complete(self) -> MetMeme:
        if self.task not in self.tasks:
            raise ValueError(f"there is no task '{self.task}' among {', '.join(self.tasks)}")
        return self


class Card(BaseModel):
    """One corpus: its labels in index order, its layout and the counts it should have.

    Attributes:
        adapter: module of `mghft.pipeline.corpora.adapters` that reads it.
        labels: empty where they are found in the data.
        counts: stickers by split; `label_counts` by split and label, `total` in all.
        file: the table of a corpus of the adapter `table`; None: the one that is there.
        columns: its columns; None: found by their usual names.
        split_file: file below the root whose splits are taken instead of the corpus' own, where it is there.
        splits_from: the same, given by whoever loads the card ("CARD@FILE"); it must be there.
        variants: name of a variant to the fields of this block that it changes ("CARD:VARIANT").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    adapter: Literal["table", "folder", "ser30k", "met_meme", "fi", "emotion_roi"]
    labels: tuple[str, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    total: int | None = None
    file: str | None = None
    columns: Columns | None = None
    split_file: str | None = None
    splits_from: str | None = None
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    met_meme: MetMeme | None = None
    source: Path

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(labels) < 2:
            raise ValueError("needs at least two labels, or to be left out: then the data's are taken")
        if len(set(labels)) != len(labels):
            raise ValueError("names a label twice")
        return labels

    @model_validator(mode="after")
    def _complete(self) -> Card:
        if self.adapter == "met_meme" and self.met_meme is None:
            raise ValueError("the adapter 'met_meme' needs the field 'met_meme'")
        if self.adapter in ("ser30k", "fi", "emotion_roi") and not self.labels:
            raise ValueError(f"the adapter '{self.adapter}' needs the field 'labels'")
        for split, by_label in self.label_counts.items():
            if set(by_label) != set(self.labels):
                raise ValueError(f"the field 'label_counts.{split}' does not count exactly the card's labels")
        return self


def card_names() -> list[str]:
    """Names of the shipped cards, sorted."""
    return sorted(path.stem for path in CARDS_FOLDER.glob("*.md"))


def load_card(name_or_path: str | Path) -> Card:
    """Reads a card: `CARD[:VARIANT…][@SPLITS]`.

    CARD is a shipped name, or a path (it ends in `.md` or holds a slash). A variant changes some of the
    card's fields (`met-meme:en:intention`). SPLITS is a file, a folder or a pattern of files with splits,
    taken instead of the corpus' own.

    Raises:
        FileNotFoundError: there is no such card.
        ValueError: the front matter is malformed, or there is no such variant; the message names file, field
            and reason.
    """
    base, variants, splits = _parts(str(name_or_path))
    named = not (base.endswith(".md") or "/" in base)
    path = CARDS_FOLDER / f"{base}.md" if named else Path(base)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no data card '{base}': the shipped cards are {', '.join(card_names())}; "
            "give one of these names or the path of a card"
        )
    front = read_front_matter(path)
    block = front.get("mghft")
    if not isinstance(block, dict):
        raise ValueError(f"the data card {path.name} has no 'mghft:' block in its front matter")
    card = _validate(path, front, block, path.stem)
    for variant in variants:
        if variant not in card.variants:
            have = ", ".join(card.variants) or "none"
            raise ValueError(f"the data card {path.name} has no variant '{variant}' (it has: {have})")
        block = _merged(block, card.variants[variant])
    if variants:
        card = _validate(path, front, block, ":".join([path.stem, *variants]))
    return card.model_copy(update={"splits_from": splits})


def _parts(text: str) -> tuple[str, list[str], str | None]:
    """Card, variants and splits of `CARD[:VARIANT…][@SPLITS]`."""
    if Path(text).is_file() or (found := _REFERENCE.fullmatch(text)) is None:
        return text, [], None
    return found["card"], [name for name in found["variants"].split(":") if name], found["splits"]


def _validate(path: Path, front: dict[str, Any], block: dict[str, Any], name: str) -> Card:
    fields = {"title": front.get("pretty_name", path.stem), "source": path, "name": name, **block}
    try:
        card = Card.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "mghft"
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"the data card {path.name} is malformed at '{where}': {reason}") from None
    if card.met_meme is not None and not card.labels:
        return card.model_copy(update={"labels": card.met_meme.tasks[card.met_meme.task].labels})
    return card


def _merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def read_front_matter(path: Path) -> dict[str, Any]:
    """The YAML front matter of a Markdown file.

    Raises:
        ValueError: there is none, or it is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path.name} is not UTF-8 text") from None
    found = _FRONT_MATTER.match(text)
    if found is None:
        raise ValueError(f"the file {path.name} does not begin with front matter between two lines '---'")
    try:
        front = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise ValueError(
            f"the front matter of {path.name} is no valid YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(front, dict):
        raise ValueError(f"the front matter of {path.name} is no mapping")
    return front
