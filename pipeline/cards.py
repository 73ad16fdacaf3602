"""Data cards: one Markdown file per corpus, whose front matter is all that the adapters know about it.

A card is a Hugging Face dataset card; its `mghft:` block says how the corpus lies on disk.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

CARDS_FOLDER = Path(__file__).resolve().parent.parent / "data_cards"
_FRONT_MATTER = re.compile(r"\s*^---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


class Columns(BaseModel):
    """Which column of a table holds what; None where the corpus has no such column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str | None = None
    split: str | None = None
    text: str | None = None
    part: str | None = None


class Card(BaseModel):
    """One corpus: its labels in index order, its layout and the counts it should have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    adapter: Literal["table", "ser30k", "folder"]
    labels: tuple[str, ...] = Field(min_length=2)
    counts: dict[str, int] = Field(default_factory=dict)
    label_counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    file: str | None = None
    columns: Columns | None = None
    source: Path

    @model_validator(mode="after")
    def _complete(self) -> Card:
        if self.adapter == "table" and (self.file is None or self.columns is None):
            raise ValueError("the adapter 'table' needs the fields 'file' and 'columns'")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("the field 'labels' names a label twice")
        for split, by_label in self.label_counts.items():
            if set(by_label) != set(self.labels):
                raise ValueError(f"the field 'label_counts.{split}' does not count exactly the card's labels")
        return self


def card_names() -> list[str]:
    """Names of the shipped cards, sorted."""
    return sorted(path.stem for path in CARDS_FOLDER.glob("*.md"))


def load_card(name_or_path: str | Path) -> Card:
    """Reads a shipped card by name or any card by path (a path ends in `.md` or holds a slash).

    Raises:
        FileNotFoundError: there is no such card.
        ValueError: the card's front matter is malformed; the message names file, field and reason.
    """
    text = str(name_or_path)
    named = not (text.endswith(".md") or "/" in text)
    path = CARDS_FOLDER / f"{text}.md" if named else Path(text)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no data card '{text}': the shipped cards are {', '.join(card_names())}; "
            "give one of these names or the path of a card"
        )
    front = read_front_matter(path)
    block = front.get("mghft")
    if not isinstance(block, dict):
        raise ValueError(f"the data card {path.name} has no 'mghft:' block in its front matter")
    fields: dict[str, Any] = {
        "name": path.stem,
        "title": front.get("pretty_name", path.stem),
        "source": path,
        **block,
    }
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "mghft"
        raise ValueError(f"the data card {path.name} is malformed at '{where}': {first['msg']}") from None


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
