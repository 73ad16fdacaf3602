"""Finds the image of a MET-Meme row: folders and files of the copies in circulation are named differently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from mghft.pipeline.text import plural

# Names of folders, in lower case, at any depth: the archives nest theirs up to three times.
IMAGE_FOLDERS = {
    "en": frozenset({"eimages", "e_images", "eimage", "images_e", "english", "en", "e"}),
    "zh": frozenset({"cimages", "c_images", "cimage", "images_c", "chinese", "zh", "cn", "c"}),
}
# How the authors' names begin, by language.
NAME_PATTERNS = {"en": re.compile(r"image_ \(\d"), "zh": re.compile(r"Image(?:_|- ?)\(\d")}
_IN_BRACKETS = re.compile(r"\((\d+)\)")
_NUMBER = re.compile(r"\d+")


def number_of(name: str) -> int | None:
    """Return the number in a name (`image_ (10).jpg`, `Image- (10).jpg`, `10.png`), None if it has none."""
    stem = _base_name(name.replace("\\", "/")).strip()
    # A suffix holds no digits that count (.jp2), and a name without one may end in a dot and a number.
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]{0,4}$", "", stem)
    numbers = _IN_BRACKETS.findall(stem) or _NUMBER.findall(stem)
    return int(numbers[0]) if len(numbers) == 1 and len(numbers[0]) <= 9 else None


class ImageLookup:
    """The images of one language by every name that a row may use."""

    def __init__(self, paths: Sequence[str], language: str, *, alone: bool) -> None:
        """Sort the images of a corpus by their names.

        Args:
            paths: of all images below the root, the nearest to it first.
            language: en or zh.
            alone: no other language is read from this folder, so images in folders without a language
                are taken by their number too.
        """
        own, unmarked = _paths_of_language(paths, language)
        self._by_name: dict[str, str] = {}
        for path in own + unmarked:
            self._by_name.setdefault(_base_name(path), path)
        self._by_plain_name: dict[str, str] = {}
        self._by_number: dict[int, str] = {}
        self._ambiguous_numbers: set[int] = set()
        # Where both languages lie in one folder, only the exact names tell them apart.
        for path in own + (unmarked if alone else []):
            self._by_plain_name.setdefault(_plain(_base_name(path)), path)
            number = number_of(_base_name(path))
            if number is not None and self._by_number.setdefault(number, path) != path:
                self._ambiguous_numbers.add(number)
        self._ways: Counter[str] = Counter()
        self._ambiguous = 0

    def find(self, name: str) -> str | None:
        """Return the path of a row's image: by its name, by the name in the archives, then by its number."""
        in_archive = name.replace("_", "- ")
        for candidate in (name, f"{name}.jpg"):
            if candidate in self._by_name:
                return self._by_name[candidate]
        for candidate in (in_archive, f"{in_archive}.jpg"):
            if candidate in self._by_name:
                self._ways["'- ' in place of '_'"] += 1
                return self._by_name[candidate]
        if path := self._by_plain_name.get(_plain(name)):
            self._ways["another case or suffix"] += 1
            return path
        number = number_of(name)
        if number is None or number not in self._by_number:
            return None
        self._ways["the number alone"] += 1
        self._ambiguous += number in self._ambiguous_numbers
        return self._by_number[number]

    def notes(self) -> list[str]:
        """Return how images were found that do not bear the table's name, one sentence each."""
        notes = [f"{plural(count, 'image')} found by {way}" for way, count in self._ways.items()]
        if self._ambiguous:
            count = plural(self._ambiguous, "number")
            notes.append(f"{count} of several images, of which the first is taken")
        return notes


def _paths_of_language(paths: Sequence[str], language: str) -> tuple[list[str], list[str]]:
    """Return the images in folders of a language, and those that nothing marks as the other's."""
    other = "zh" if language == "en" else "en"
    own, unmarked = [], []
    for path in paths:
        folders = [folder.casefold() for folder in path.split("/")[:-1]]
        of_folders = [
            name for folder in reversed(folders) for name, known in IMAGE_FOLDERS.items() if folder in known
        ]
        if of_folders[:1] == [language]:
            own.append(path)
        elif not of_folders and not NAME_PATTERNS[other].match(_base_name(path)):
            unmarked.append(path)
    return own, unmarked


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _plain(name: str) -> str:
    """Return a name in lower case, without suffix and blanks."""
    path = PurePosixPath(name)
    return "".join((path.stem if path.suffix[1:].isalpha() else name).casefold().split())
