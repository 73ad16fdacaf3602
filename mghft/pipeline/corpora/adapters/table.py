"""A table of stickers: CSV, JSON lines or Parquet with a path, and maybe label, split, text, part."""

from __future__ import annotations

from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing, first
from mghft.pipeline.corpora.adapters.read_table import TABLE_SUFFIXES, Row, named, read_rows
from mghft.pipeline.corpora.card import Card, Columns
from mghft.pipeline.corpora.sticker import SPLIT_NAMES, Sticker, label_index
from mghft.pipeline.text import clean_text

_USUAL = {
    "path": ("path", "file_name", "filename", "file", "image", "image_path", "img", "images_name", "id"),
    "label": ("label", "label_name", "emotion", "sentiment", "class", "category", "sentiment_category"),
    "split": ("split", "set", "subset", "fold"),
    "text": ("text", "caption", "ocr", "ocr_text", "sentence"),
    "part": ("part",),
}
_LIKELY = ("stickers", "labels", "metadata", "data", "index", "train")


def read(card: Card, root: Path) -> Listing:
    """Lists the rows; the label column holds names, or numbers of the card's labels from 0.

    Raises:
        FileNotFoundError: there is no table.
        ValueError: it cannot be read, lacks a column, or a row has no path or an unknown label.
    """
    found = Listing(card)
    file = root / card.file if card.file else _find(card, root)
    if not file.is_file():
        raise FileNotFoundError(
            f"the corpus {card.name} needs the file {card.file} in {root}, and it does not exist"
        )
    header, rows = read_rows(file)
    columns = card.columns or _usual_columns(found, header, file)
    lacking = [name for name in columns.model_dump().values() if name and name not in header]
    if lacking:
        raise ValueError(f"{file} lacks the column {', '.join(lacking)} that the card {card.name} names")
    kept = list(rows)
    if not card.labels and columns.label:
        _with_labels(found, {row[columns.label] for _, row in kept} - {""}, columns.label, file)
    numbers = _numbered(found.card.labels, columns, kept)
    if numbers:
        found.notes.append(f"the column '{columns.label}' holds numbers, read as the card's labels from 0")
    for where, row in kept:
        found.stickers.append(_sticker(found.card, row, columns, where, numbers))
    return found


def _find(card: Card, root: Path) -> Path:
    """The table at the root: the only one, or the one with a usual name."""
    tables = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and path.name != card.split_file
    )
    if len(tables) > 1:
        likely = [path for name in _LIKELY for path in tables if path.stem.lower() == name]
        tables = likely[:1] or tables
    if len(tables) != 1:
        have = f"there are {first(path.name for path in tables)}" if tables else "there is none"
        raise FileNotFoundError(
            f"the corpus {card.name} needs one table ({', '.join(TABLE_SUFFIXES)}) in {root}, and {have}: "
            "name it in a card's field 'file'"
        )
    return tables[0]


def _usual_columns(found: Listing, header: list[str], file: Path) -> Columns:
    columns = {what: named(header, names) for what, names in _USUAL.items()}
    if columns["path"] is None:
        raise ValueError(
            f"{file} has no column that looks like an image's path (it has: {', '.join(header)}): "
            "name it in a card's field 'columns.path'"
        )
    said = ", ".join(f"{what} from '{name}'" for what, name in columns.items() if name)
    found.notes.append(f"columns of {file.name}: {said}")
    return Columns.model_validate(columns)


def _with_labels(found: Listing, names: set[str], column: str, file: Path) -> None:
    # Numbers in the order of numbers: 10 comes after 9.
    labels = sorted(names, key=lambda name: (int(name) if name.isdecimal() else -1, name))
    if len(labels) < 2:
        raise ValueError(f"{file} has fewer than two labels in its column '{column}': {first(labels)}")
    if len(labels) > 1000:
        raise ValueError(
            f"{file} has {len(labels)} different labels in its column '{column}': is it the right column? "
            "Name it in a card's field 'columns.label'"
        )
    found.notes.append(f"{len(labels)} labels found in the column '{column}': {first(labels, 20)}")
    found.card = found.card.model_copy(update={"labels": tuple(labels)})


def _numbered(labels: tuple[str, ...], columns: Columns, rows: list[tuple[str, Row]]) -> bool:
    """Whether the labels are given as numbers: all are, and the card calls none of its labels so."""
    if columns.label is None:
        return False
    values = {row[columns.label] for _, row in rows} - {""}
    return bool(values) and all(value.isdecimal() and value not in labels for value in values)


def _sticker(card: Card, row: Row, columns: Columns, where: str, numbers: bool) -> Sticker:
    path = row[columns.path]
    if not path:
        raise ValueError(f"{where}: the column '{columns.path}' is empty")
    name = (row[columns.label] or None) if columns.label else None
    if numbers and name is not None:
        if int(name) >= len(card.labels):
            raise ValueError(f"{where}: the label {name} is over {len(card.labels) - 1}, the card's last")
        name = card.labels[int(name)]
    split = (row[columns.split] if columns.split else "") or "all"
    return Sticker(
        id=path,
        path=path,
        split=SPLIT_NAMES.get(split, split),
        label=None if name is None else label_index(card, name, where),
        label_name=name,
        text=clean_text(row[columns.text]) if columns.text else None,
        part=(row[columns.part] or None) if columns.part else None,
    )
