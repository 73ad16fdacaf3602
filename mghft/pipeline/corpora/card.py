"""Data cards: one Markdown file per corpus, whose front matter is all that the adapters know about it.

A card is a Hugging Face dataset card; its `mghft:` block says how the corpus lies on disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mghft.pipeline.settings import first_fault
from mghft.pipeline.text import near, one_line

Language = Literal["en", "zh"]
CARDS_FOLDER = Path(__file__).resolve().parents[2] / "data_cards"
_FRONT_MATTER = re.compile(r"\s*^---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_REFERENCE = re.compile(
    r"(?P<card>.*?\.md|[^:@]*)(?P<variants>(?::[A-Za-z0-9_=-]+)*)(?:@(?P<splits>.+))?", re.DOTALL
)


class Columns(BaseModel):
    """The columns of a table by what they hold; None where the corpus has no such column.

    `label_source` says who gave a label; a table without that column is read as well.
    `subset` was `part` once: cards that say so are read.
    `topic` names what alike stickers share beside the label, such as their sticker set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str | None = None
    split: str | None = None
    text: str | None = None
    subset: str | None = Field(default=None, validation_alias=AliasChoices("subset", "part"))
    label_source: str | None = None
    topic: str | None = None


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
    counts: dict[Language, tuple[int, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Task:
        for label in self.aliases.values():
            if label not in self.labels:
                raise ValueError(f"the alias of {label!r} is of no label among {', '.join(self.labels)}")
        return self


class MetMeme(BaseModel):
    """The part of MET-Meme that is read: its languages, and the task whose labels are taken.

    `rows_lacking` are the numbers of the memes that copies in circulation lack, by language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    languages: tuple[Language, ...] = Field(default=("en", "zh"), min_length=1)
    task: str
    tasks: dict[str, Task]
    rows_lacking: dict[Language, tuple[int, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> MetMeme:
        if self.task not in self.tasks:
            raise ValueError(f"the task '{self.task}' is not one of {', '.join(self.tasks)}")
        return self


class Card(BaseModel):
    """One corpus: its labels in index order, its layout and the counts it should have.

    Attributes:
        adapter: module of `mghft.pipeline.corpora.adapters` that reads it.
        labels: empty where those of the data are taken.
        counts: stickers by split; `label_counts` by split and label, `total` in all.
        file: the table of a corpus of the adapter `table`; None: the only one at the root.
        columns: its columns; None: those with the usual names.
        split_file: file below the root whose splits replace the corpus' own as soon as it exists.
        splits_from: the same, given by whoever loads the card ("CARD@FILE"); it must exist.
        variants: name of a variant to the fields of this block that it changes ("CARD:VARIANT").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    adapter: Literal["table", "folder", "pack", "ser30k", "met_meme", "fi", "emotion_roi"]
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
            raise ValueError("a label is duplicated")
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
    """Return the names of the shipped cards, sorted."""
    return sorted(path.stem for path in CARDS_FOLDER.glob("*.md"))


def load_card(name_or_path: str | Path) -> Card:
    """Read a card: `CARD[:VARIANT…][@SPLITS]`.

    CARD is a shipped name, or a path (it ends in `.md` or holds a slash). A variant changes some of the
    card's fields (`met-meme:en:intention`). SPLITS is a file, a folder or a pattern of files with splits,
    taken instead of the corpus' own.

    Raises:
        FileNotFoundError: the card does not exist.
        ValueError: the front matter is malformed, or the card has no such variant; the message names file,
            field and reason.
    """
    base, variants, splits = _split_reference(str(name_or_path))
    is_name = not (base.endswith(".md") or "/" in base)
    path = CARDS_FOLDER / f"{base}.md" if is_name else Path(base)
    if not path.is_file():
        raise FileNotFoundError(
            f"the data card '{base}' does not exist{near(base, card_names())}: the shipped cards "
            f"are {', '.join(card_names())}; "
            "give one of these names or the path of a card"
        )
    front = read_front_matter(path)
    block = front.get("mghft")
    if not isinstance(block, dict):
        raise ValueError(f"the data card {path.name} has no 'mghft:' block in its front matter")
    card = _validate(path, front, block, path.stem)
    for variant in variants:
        if variant not in card.variants:
            variants_of_card = ", ".join(card.variants) or "none"
            raise ValueError(
                f"the data card {path.name} has no variant '{variant}'{near(variant, card.variants)} "
                f"(it has: {variants_of_card})"
            )
        block = _override(block, card.variants[variant])
    if variants:
        card = _validate(path, front, block, ":".join([path.stem, *variants]))
    return card.model_copy(update={"splits_from": splits})


def _split_reference(text: str) -> tuple[str, list[str], str | None]:
    """Return card, variants and splits of `CARD[:VARIANT…][@SPLITS]`."""
    match = _REFERENCE.fullmatch(text)
    if match is None or Path(text).is_file():
        return text, [], None
    return match["card"], [name for name in match["variants"].split(":") if name], match["splits"]


def _validate(path: Path, front: dict[str, Any], block: dict[str, Any], name: str) -> Card:
    fields = {"title": front.get("pretty_name", path.stem), "source": path, "name": name, **block}
    try:
        card = Card.model_validate(fields)
    except ValidationError as error:
        raise ValueError(first_fault(error, f"the data card {path.name}", Card)) from None
    if card.met_meme is not None and not card.labels:
        return card.model_copy(update={"labels": card.met_meme.tasks[card.met_meme.task].labels})
    return card


def _override(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Lay changes over nested fields; unlike with `settings.merge`, a label may have a dot in its name."""
    changed = dict(fields)
    for key, value in changes.items():
        old = changed.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _override(old, value)
        changed[key] = value
    return changed


def read_front_matter(path: Path) -> dict[str, Any]:
    """Read the YAML front matter of a Markdown file.

    Raises:
        ValueError: it has none, or it is no YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"the file {path.name} is not UTF-8 text") from None
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError(f"the file {path.name} does not begin with front matter between two lines '---'")
    try:
        front = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"the front matter of {path.name} is no valid YAML: {one_line(error)}") from None
    if not isinstance(front, dict):
        raise ValueError(f"the front matter of {path.name} is no mapping")
    return front
