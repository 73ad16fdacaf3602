"""MET-Meme: label and text tables per language as the authors published them, and images wherever they lie.

What is dirty in the files is read as a person would and said: encodings, empty columns, cells of several
lines, values without their number, images under other names than the tables'.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing, counted, first
from mghft.pipeline.corpora.adapters.met_meme_images import IMAGE_FOLDERS, MARKS, Images, number_of
from mghft.pipeline.corpora.adapters.met_meme_tables import (
    UNREADABLE,
    find_table,
    id_column,
    read_cells,
    read_value,
)
from mghft.pipeline.corpora.adapters.paths import is_image_name, walk_files
from mghft.pipeline.corpora.adapters.read_table import named
from mghft.pipeline.corpora.card import Card, MetMeme, Task
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.text import clean_text, printable

LANGUAGES = {"en": "English", "zh": "Chinese"}
_LETTER = {"en": "E", "zh": "C"}
_IDS = {"en": "English/image_ ({}).jpg", "zh": "Chinese/Image_({}).jpg"}


def read(card: Card, root: Path) -> Listing:
    """Lists one language or both with the labels of the card's task.

    Raises:
        FileNotFoundError: a table of labels is missing.
        ValueError: a table lacks its columns or is in no known encoding.
    """
    assert card.met_meme is not None
    facts, found = card.met_meme, Listing(card)
    files = sorted(walk_files(root), key=lambda path: (path.count("/"), path))
    images = [path for path in files if is_image_name(path)]
    for language in facts.languages:
        half = _Half(found, facts.tasks[facts.task], language, len(facts.languages) > 1)
        half.read_labels(root, _table(card, root, files, language, facts))
        half.read_texts(root, find_table(files, f"{_LETTER[language]}_text"))
        half.compare()
        half.list_stickers(Images(images, language, alone=len(facts.languages) == 1))
    if not images:
        archives = [path for path in files if path.lower().endswith((".rar", ".zip", ".7z"))]
        hint = f": unpack {first(archives)} there" if archives else ""
        raise FileNotFoundError(f"the corpus {card.name} has no images below {root}{hint}")
    return found


def possible_ids(name: str, file: str) -> list[str]:
    """Ids that a name in somebody's file may mean, by its number and all that tells the language."""
    number = number_of(name)
    if number is None:
        return []
    for language, mark in MARKS.items():
        if mark.search(name):
            return [_IDS[language].format(number)]
    where = [part.casefold() for part in name.replace("\\", "/").split("/")[:-1]]
    for language, folders in IMAGE_FOLDERS.items():
        letter = _LETTER[language]
        if folders & set(where) or name.startswith((f"{letter}_", f"{letter}-")):
            return [_IDS[language].format(number)]
    for language, letter in _LETTER.items():
        if re.search(rf"_{letter}(?![A-Za-z])", file) or LANGUAGES[language].lower() in file.lower():
            return [_IDS[language].format(number)]
    return [pattern.format(number) for pattern in _IDS.values()]


def _table(card: Card, root: Path, files: list[str], language: str, facts: MetMeme) -> str:
    stem = f"label_{_LETTER[language]}"
    if found := find_table(files, stem):
        return found
    other = "zh" if language == "en" else "en"
    more = ""
    if len(facts.languages) > 1 and find_table(files, f"label_{_LETTER[other]}"):
        more = f"; for the {LANGUAGES[other]} half alone take the card 'met-meme:{other}'"
    raise FileNotFoundError(
        f"the corpus {card.name} needs {stem}.csv somewhere below {root}, and it does not exist{more}"
    )


@dataclass
class _Row:
    name: str
    number: int | None
    label: int | None
    text: str | None = None


@dataclass
class _Half:
    """The memes of one language."""

    found: Listing
    task: Task
    language: str
    both: bool
    rows: list[_Row] = field(default_factory=list)

    @property
    def title(self) -> str:
        return LANGUAGES[self.language]

    def read_labels(self, root: Path, file: str) -> None:
        """Reads names and labels; what is odd about a value is counted."""
        header, cells = self._open(root, file)
        column = named(header, [self.task.column.casefold().replace(" ", "_")])
        if column is None:
            raise ValueError(
                f"{root / file} lacks the column '{self.task.column}' (it has: {first(header, 20)})"
            )
        key = id_column(header, root / file)
        odd: Counter[tuple[str, str]] = Counter()
        again: list[str] = []
        seen: set[str | int] = set()
        for row in cells:
            name, value = row[key].strip(), row[column].strip()
            number = number_of(name)
            if not name:
                odd["a row without a name, left out", value] += 1
                continue
            if (name if number is None else number) in seen:
                again.append(name)
                continue
            seen.add(name if number is None else number)
            label, remark = read_value(value, self.task)
            if remark:
                odd[remark, value] += 1
            self.rows.append(_Row(name, number, label))
        for remark in dict.fromkeys(remark for remark, _ in odd):
            values = [value for (why, value), count in odd.items() if why == remark for _ in range(count)]
            line = f"{self.title}, {self.task.column}: {remark}: {counted(values)}"
            (self.found.problems if remark == UNREADABLE else self.found.notes).append(line)
        if again:
            self.found.problems.append(
                f"{self.title}: {len(again)} names stand in {file} more than once, "
                f"the first row counts: {first(again)}"
            )

    def read_texts(self, root: Path, file: str | None) -> None:
        """Joins the texts by name, or by the number in it."""
        if file is None:
            self.found.notes.append(
                f"{self.title}: there is no {_LETTER[self.language]}_text.csv, so no texts"
            )
            return
        header, cells = self._open(root, file)
        column = named(header, ["text"])
        if column is None:
            raise ValueError(f"{root / file} lacks the column 'text' (it has: {first(header, 20)})")
        key = id_column(header, root / file)
        texts: dict[str | int, str] = {}
        for row in cells:
            number = number_of(row[key])
            texts.setdefault(row[key].strip() if number is None else number, row[column])
        without, empty = 0, 0
        for one in self.rows:
            text = texts.pop(one.name if one.number is None else one.number, None)
            without += text is None
            one.text = clean_text((text or "").strip())
            empty += text is not None and one.text is None
        if without or texts:
            self.found.problems.append(
                f"{self.title}: {without} memes have no row in {file}, {len(texts)} of its rows have no meme"
            )
        if empty:
            self.found.notes.append(f"{self.title}: {empty} memes have an empty text")

    def compare(self) -> None:
        """Says whether rows and labels are as many as in the authors' files."""
        wanted = self.task.counts.get("en" if self.language == "en" else "zh")
        if wanted is None:
            return
        found = Counter(row.label for row in self.rows)
        here = [found[label] for label in range(len(self.task.labels))]
        whole = sum(wanted)
        if list(wanted) == here and len(self.rows) == whole:
            self.found.notes.append(
                f"{self.title}: {whole:,} rows, and of each label of '{self.task.column}' as many as in "
                "the authors' files"
            )
            return
        differ = "; ".join(
            f"{name} {count}, not {other}"
            for name, count, other in zip(self.task.labels, here, wanted, strict=True)
            if count != other
        )
        self.found.notes.append(
            f"{self.title}: {len(self.rows):,} rows, the authors' files have {whole:,}"
            + (f"; of '{self.task.column}' there are {differ}" if differ else "")
        )

    def list_stickers(self, images: Images) -> None:
        """Adds the memes that have an image."""
        for row in self.rows:
            path = images.find(row.name)
            if path is None:
                self.found.skip(f"{self.title}/{row.name}", "its image is missing")
                continue
            label = row.label
            self.found.stickers.append(
                Sticker(
                    id=printable(
                        f"{self.title}/{row.name}"
                        if row.number is None
                        else _IDS[self.language].format(row.number)
                    ),
                    path=path,
                    split="all",
                    label=label,
                    label_name=None if label is None else self.task.labels[label],
                    text=row.text,
                    part=self.language if self.both else None,
                )
            )
        self.found.notes.extend(f"{self.title}: {line}" for line in images.lines())

    def _open(self, root: Path, file: str) -> tuple[list[str], list[dict[str, str]]]:
        header, cells, remark = read_cells(root / file)
        self.found.notes.append(f"{self.title}: {file} {remark}")
        return header, cells
