"""MET-Meme: label and text tables per language as the authors published them, and images wherever they lie.

What is dirty in the files is read as a person would, and noted: encodings, empty columns, cells of several
lines, values without their number, images under other names than the tables'.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import NAMES_SHOWN, Listing, summarize_values
from mghft.pipeline.corpora.adapters.met_meme_images import (
    IMAGE_FOLDERS,
    NAME_PATTERNS,
    ImageLookup,
    number_of,
)
from mghft.pipeline.corpora.adapters.met_meme_tables import (
    UNREADABLE,
    Table,
    find_id_column,
    find_table,
    read_meme_table,
    read_value,
)
from mghft.pipeline.corpora.adapters.paths import (
    MISSING,
    is_image_name,
    leaving_note,
    nearest_first,
    walk_files,
)
from mghft.pipeline.corpora.adapters.read_table import find_column, plain_name
from mghft.pipeline.corpora.card import Card, Language, MetMeme, Task
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.text import clean_text, first_and_more, plural, printable

LANGUAGES = {"en": "English", "zh": "Chinese"}
_LETTERS = {"en": "E", "zh": "C"}
_IDS = {"en": "English/image_ ({}).jpg", "zh": "Chinese/Image_({}).jpg"}


def read(card: Card, root: Path) -> Listing:
    """List one language or both with the labels of the card's task.

    Raises:
        FileNotFoundError: a table of labels is missing, or there are no images.
        ValueError: a table lacks its columns or is in no known encoding.
    """
    assert card.met_meme is not None
    settings, listing = card.met_meme, Listing(card)
    links: list[str] = []
    files = sorted(walk_files(root, links), key=nearest_first)
    images = [path for path in files if is_image_name(path)]
    both = len(settings.languages) > 1
    for language in settings.languages:
        label_file = _find_label_table(card, settings, root, files, language)
        text_file = find_table(files, f"{_LETTERS[language]}_text")
        gaps = frozenset(settings.rows_lacking.get(language, ()))
        reader = _LanguageReader(listing, settings.tasks[settings.task], root, language, gaps)
        memes = reader.read_labels(label_file)
        reader.add_texts(memes, text_file)
        reader.compare_counts(memes)
        reader.add_stickers(memes, ImageLookup(images, language, alone=not both), mark_language=both)
    if not images:
        archives = [path for path in files if path.lower().endswith((".rar", ".zip", ".7z"))]
        hint = f": unpack {first_and_more(archives)} there" if archives else ""
        hint += f"; {leaving_note(links)}" if links else ""
        raise FileNotFoundError(f"the corpus {card.name} has no images below {root}{hint}")
    listing.note_links(links)
    return listing


def possible_ids(name: str, file: str) -> list[str]:
    """Return the ids that a name in somebody's file may mean, by its number and what tells the language."""
    number = number_of(name)
    if number is None:
        return []
    language = _language_of(name, file)
    return [_IDS[candidate].format(number) for candidate in _IDS if language in (None, candidate)]


def is_of_another_variant(card: Card, name: str, file: str) -> bool:
    """Return whether a name in somebody's file is a meme of a language that this variant does not read."""
    assert card.met_meme is not None
    ids = possible_ids(name, file)
    return bool(ids) and not any(ids_of in card.met_meme.languages for ids_of in map(_language_of_id, ids))


def _language_of_id(meme_id: str) -> str:
    return next(language for language, title in LANGUAGES.items() if meme_id.startswith(f"{title}/"))


def _language_of(name: str, file: str) -> str | None:
    """Return the language that a meme's name, its folders or the file that names it tell; None: none does."""
    for language, pattern in NAME_PATTERNS.items():
        if pattern.search(name):
            return language
    folders = {folder.casefold() for folder in name.replace("\\", "/").split("/")[:-1]}
    for language, letter in _LETTERS.items():
        if IMAGE_FOLDERS[language] & folders or name.startswith((f"{letter}_", f"{letter}-")):
            return language
    for language, letter in _LETTERS.items():
        if re.search(rf"_{letter}(?![A-Za-z])", file) or LANGUAGES[language].lower() in file.lower():
            return language
    return None


def _find_label_table(card: Card, settings: MetMeme, root: Path, files: list[str], language: str) -> str:
    stem = f"label_{_LETTERS[language]}"
    if table := find_table(files, stem):
        return table
    other = "zh" if language == "en" else "en"
    hint = ""
    if other in settings.languages and find_table(files, f"label_{_LETTERS[other]}"):
        hint = f"; for {LANGUAGES[other]} alone take the card 'met-meme:{other}'"
    raise FileNotFoundError(
        f"the corpus {card.name} needs {stem}.csv somewhere below {root}, and it does not exist{hint}"
    )


@dataclass
class _Meme:
    """A row of the table of labels, with its text once that is read."""

    name: str
    number: int | None
    label: int | None
    text: str | None = None

    @property
    def key(self) -> str | int:
        return _key(self.name, self.number)


def _key(name: str, number: int | None) -> str | int:
    """Return what joins the rows of a meme: the number in its name, or the name where it has none."""
    return name if number is None else number


@dataclass(frozen=True)
class _LanguageReader:
    """A reader of one language's memes, step by step; every oddity becomes a note or a problem.

    `gaps` are the numbers of the memes that copies in circulation lack.
    """

    listing: Listing
    task: Task
    root: Path
    language: Language
    gaps: frozenset[int]

    @property
    def title(self) -> str:
        return LANGUAGES[self.language]

    def read_labels(self, file: str) -> list[_Meme]:
        """Read names and labels."""
        table = self._open(file)
        label_column = self._find_column(table, self.task.column, file)
        id_column = find_id_column(table.header, self.root / file)
        odd_values: dict[str, list[str]] = {}
        duplicated: list[str] = []
        memes: dict[str | int, _Meme] = {}
        for row in table.rows:
            name, value = row[id_column].strip(), row[label_column].strip()
            key = _key(name, number_of(name))
            if not name:
                odd_values.setdefault("a row without a name, left out", []).append(value)
                continue
            if key in memes:
                duplicated.append(name)
                continue
            label, remark = read_value(value, self.task)
            if remark:
                odd_values.setdefault(remark, []).append(value)
            memes[key] = _Meme(name, number_of(name), label)
        for remark, values in odd_values.items():
            sentence = f"{self.title}, {self.task.column}: {remark}: {summarize_values(values)}"
            (self.listing.problems if remark == UNREADABLE else self.listing.notes).append(sentence)
        if duplicated:
            self.listing.problems.append(
                f"{self.title}: {plural(duplicated, 'name')} duplicated in {file}, the first row counts: "
                f"{first_and_more(duplicated)}"
            )
        return list(memes.values())

    def add_texts(self, memes: list[_Meme], file: str | None) -> None:
        """Join the texts by name, or by the number in it."""
        if file is None:
            self._note(f"there is no {_LETTERS[self.language]}_text.csv, so no texts")
            return
        table = self._open(file)
        text_column = self._find_column(table, "text", file)
        id_column = find_id_column(table.header, self.root / file)
        texts: dict[str | int, str] = {}
        for row in table.rows:
            name = row[id_column].strip()
            texts.setdefault(_key(name, number_of(name)), row[text_column])
        without: list[_Meme] = []
        empty = 0
        for meme in memes:
            text = texts.pop(meme.key, None)
            meme.text = clean_text((text or "").strip())
            without += [meme] if text is None else []
            empty += text is not None and meme.text is None
        odd = {meme.key for meme in without} | texts.keys()
        if odd:
            lacking, orphans = plural(without, "meme"), plural(texts, "row")
            sentence = f"{lacking} without a row in {file}, {orphans} of it without a meme"
            if odd <= self.gaps:
                self._note(f"{sentence}: those that some copies lack")
            else:
                self.listing.problems.append(f"{self.title}: {sentence}")
        if empty:
            self._note(f"{plural(empty, 'meme')} with an empty text")

    def compare_counts(self, memes: list[_Meme]) -> None:
        """Note whether rows and labels are as many as in the authors' files."""
        expected = self.task.counts.get(self.language)
        if expected is None:
            return
        found = Counter(meme.label for meme in memes)
        counts = [found[label] for label in range(len(self.task.labels))]
        if list(expected) == counts and len(memes) == sum(expected):
            self._note(
                f"{sum(expected):,} rows, and of each label of '{self.task.column}' as many as in "
                "the authors' files"
            )
            return
        lacking = sum(expected) - len(memes)
        is_known = lacking == len(self.gaps) > 0 and not self.gaps & {meme.number for meme in memes}
        if is_known and all(count <= authors for count, authors in zip(counts, expected, strict=True)):
            self._note(
                f"{len(memes):,} rows: this is the copy without {plural(lacking, 'row')} of the authors' "
                f"{sum(expected):,} (the numbers {', '.join(map(str, sorted(self.gaps)))}), sound otherwise"
            )
            return
        differences = "; ".join(
            f"{name} {count}, not {authors}"
            for name, count, authors in zip(self.task.labels, counts, expected, strict=True)
            if count != authors
        )
        self._note(
            f"{len(memes):,} rows, the authors' files have {sum(expected):,}"
            + (f"; of '{self.task.column}' there are {differences}" if differences else "")
        )

    def add_stickers(self, memes: list[_Meme], images: ImageLookup, *, mark_language: bool) -> None:
        """Add the memes that have an image to the listing."""
        for meme in memes:
            path = images.find(meme.name)
            if path is None:
                self.listing.skip(f"{self.title}/{meme.name}", MISSING)
                continue
            name = f"{self.title}/{meme.name}"
            self.listing.stickers.append(
                Sticker(
                    id=printable(name if meme.number is None else _IDS[self.language].format(meme.number)),
                    path=path,
                    split="all",
                    label=meme.label,
                    label_name=None if meme.label is None else self.task.labels[meme.label],
                    text=meme.text,
                    subset=self.language if mark_language else None,
                )
            )
        for note in images.notes():
            self._note(note)

    def _open(self, file: str) -> Table:
        table = read_meme_table(self.root / file)
        self._note(f"{file} {table.remark}")
        return table

    def _find_column(self, table: Table, name: str, file: str) -> str:
        column = find_column(table.header, [plain_name(name)])
        if column is None:
            raise ValueError(
                f"{self.root / file} lacks the column '{name}' "
                f"(it has: {first_and_more(table.header, NAMES_SHOWN)})"
            )
        return column

    def _note(self, sentence: str) -> None:
        self.listing.notes.append(f"{self.title}: {sentence}")
