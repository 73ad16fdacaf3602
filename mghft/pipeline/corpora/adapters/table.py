"""A table of stickers: CSV, JSON lines or Parquet with a path, maybe label, split, text, subset, topic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN, Listing, summarize_values
from mghft.pipeline.corpora.adapters.paths import name_on_disk
from mghft.pipeline.corpora.adapters.read_table import (
    LABEL_COLUMNS,
    TABLE_SUFFIXES,
    TEXT_COLUMNS,
    Row,
    clean_name,
    find_column,
    look_alikes,
    numbers_first,
    read_rows,
)
from mghft.pipeline.corpora.card import Card, Columns
from mghft.pipeline.corpora.sticker import Sticker, label_index, normal_split
from mghft.pipeline.text import clean_text, first_and_more

_USUAL_NAMES = {
    "path": ("path", "file_name", "filename", "file", "image", "image_path", "img", "images_name", "id"),
    "label": LABEL_COLUMNS,
    "split": ("split", "set", "subset", "fold"),
    "text": TEXT_COLUMNS,
    "subset": ("part",),
    "topic": ("topic",),
}
_USUAL_STEMS = ("stickers", "labels", "metadata", "data", "index", "train")
_MAX_LABELS = 1000
# What pandas and spreadsheets write into cells without a value; "none" may be a label.
_NOTHING = frozenset({"nan", "<na>", "#n/a", "#value!", "null"})


def read(card: Card, root: Path) -> Listing:
    """List the rows; the label column holds names, or numbers of the card's labels from 0.

    Raises:
        FileNotFoundError: the table does not exist.
        ValueError: it cannot be read, lacks a column, or a row has no path or an unknown label.
    """
    listing = Listing(card)
    file = root / card.file if card.file else _find_table(card, root)
    if not file.is_file():
        raise FileNotFoundError(
            f"the corpus {card.name} needs the file {card.file} in {root}, and it does not exist"
        )
    header, row_iterator = read_rows(file)
    columns = card.columns or _usual_columns(listing, header, file)
    if columns.label_source is not None and columns.label_source not in header:
        listing.notes.append(f"{file.name} has no column '{columns.label_source}': labels are of one source")
        columns = columns.model_copy(update={"label_source": None})
    lacking = [name for name in columns.model_dump().values() if name and name not in header]
    if lacking:
        raise ValueError(f"{file} lacks the column {', '.join(lacking)} that the card {card.name} names")
    rows = list(row_iterator)
    _clean(listing, rows, columns, file)
    if not card.labels and columns.label:
        _take_labels(listing, {row[columns.label] for _, row in rows} - {""}, columns.label, file)
    numbered = _labels_are_numbers(listing.card.labels, columns, rows)
    if numbered:
        listing.notes.append(f"the column '{columns.label}' holds numbers, read as the card's labels from 0")
    for _, row in rows:
        row[columns.path] = name_on_disk(root, row[columns.path])
    listing.stickers = [_sticker(listing.card, row, columns, where, numbered) for where, row in rows]
    return listing


def _clean(listing: Listing, rows: list[tuple[str, Row]], columns: Columns, file: Path) -> None:
    """Clean the cells that are names of something, in place: blanks around them, and words for "nothing"."""
    names = (columns.label, columns.split, columns.subset, columns.label_source, columns.topic)
    for column in filter(None, names):
        nothing: Counter[str] = Counter()
        for _, row in rows:
            row[column] = clean_name(row[column])
            if row[column].casefold() in _NOTHING and row[column] not in listing.card.labels:
                nothing[row[column]] += 1
                row[column] = ""
        if nothing:
            listing.notes.append(
                f"{summarize_values(nothing.elements())} in the column '{column}' of {file.name} "
                f"{'is' if nothing.total() == 1 else 'are'} read as an empty cell"
            )


def _find_table(card: Card, root: Path) -> Path:
    """Return the table at the root: the only one, or the one with a usual name."""
    tables = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and path.name != card.split_file
    )
    if len(tables) > 1:
        usual = [path for stem in _USUAL_STEMS for path in tables if path.stem.lower() == stem]
        tables = usual[:1] or tables
    if len(tables) != 1:
        state = f"there are {first_and_more(path.name for path in tables)}" if tables else "there is none"
        raise FileNotFoundError(
            f"the corpus {card.name} needs one table ({', '.join(TABLE_SUFFIXES)}) in {root}, and {state}: "
            "name it in a card's field 'file'"
        )
    return tables[0]


def _usual_columns(listing: Listing, header: list[str], file: Path) -> Columns:
    columns = {role: find_column(header, names) for role, names in _USUAL_NAMES.items()}
    if columns["path"] is None:
        raise ValueError(
            f"{file} has no column that looks like an image's path (it has: {', '.join(header)}): "
            "name it in a card's field 'columns.path'"
        )
    taken = ", ".join(f"{role} from '{name}'" for role, name in columns.items() if name)
    listing.notes.append(f"columns of {file.name}: {taken}")
    return Columns.model_validate(columns)


def _take_labels(listing: Listing, names: set[str], column: str, file: Path) -> None:
    """Give the card the labels of the data."""
    labels = sorted(names, key=numbers_first)
    if len(labels) < 2:
        raise ValueError(f"{file} has fewer than two labels in its column '{column}': {', '.join(labels)}")
    if len(labels) > _MAX_LABELS:
        raise ValueError(
            f"{file} has {len(labels)} different labels in its column '{column}': is it the right column? "
            "Name it in a card's field 'columns.label'"
        )
    listing.notes.append(
        f"{len(labels)} labels found in the column '{column}': {first_and_more(labels, NAMES_SHOWN)}"
    )
    listing.card = listing.card.model_copy(update={"labels": tuple(labels)})
    for alike in look_alikes(labels):
        listing.problems.append(
            f"the labels {' and '.join(map(repr, alike))} of the column '{column}' differ in case, width or "
            "punctuation alone and are classes of their own: write one of them everywhere"
        )


def _labels_are_numbers(labels: tuple[str, ...], columns: Columns, rows: list[tuple[str, Row]]) -> bool:
    """Return whether all labels are given as numbers, and the card calls none of its labels so."""
    if columns.label is None:
        return False
    values = {row[columns.label] for _, row in rows} - {""}
    return bool(values) and all(value.isdecimal() and value not in labels for value in values)


def _sticker(card: Card, row: Row, columns: Columns, where: str, numbered: bool) -> Sticker:
    path = row[columns.path]
    if not path:
        raise ValueError(f"{where}: the column '{columns.path}' is empty")
    name = (row[columns.label] or None) if columns.label else None
    if numbered and name is not None:
        if int(name) >= len(card.labels):
            raise ValueError(f"{where}: the label {name} is over {len(card.labels) - 1}, the card's last")
        name = card.labels[int(name)]
    return Sticker(
        id=path,
        path=path,
        split=normal_split(row[columns.split] if columns.split else "") or "all",
        label=None if name is None else label_index(card, name, where),
        label_name=name,
        text=clean_text(row[columns.text]) if columns.text else None,
        subset=(row[columns.subset] or None) if columns.subset else None,
        topic=(row[columns.topic] or None) if columns.topic else None,
        label_source=(row[columns.label_source] or None) if columns.label_source else None,
    )
