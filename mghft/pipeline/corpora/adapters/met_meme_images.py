"""Finds the image of a MET-Meme row: folders and files of the copies in circulation are named differently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

# Names of folders, in lower case, at any depth: the archives nest theirs up to three times.
IMAGE_FOLDERS = {
    "en": frozenset({"eimages", "e_images", "eimage", "images_e", "english", "en", "e"}),
    "zh": frozenset({"cimages", "c_images", "cimage", "images_c", "chinese", "zh", "cn", "c"}),
}
# How the authors' names begin, by language.
MARKS = {"en": re.compile(r"image_ \(\d"), "zh": re.compile(r"Image(?:_|- ?)\(\d")}
_IN_BRACKETS = re.compile(r"\((\d+)\)")
_NUMBER = re.compile(r"\d+")


def number_of(name: str) -> int | None:
    """The number in a meme's name: `image_ (10).jpg`, `Image- (10).jpg`, `image_10`, `10.png`; or None."""
    stem = name.replace("\\", "/").rpartition("/")[2].strip()
    # A suffix holds no digits that count (.jp2), and a name without one may end in a dot and a number.
    stem = re.sub(r"\.[A-Za-z][A-Za-z0-9]{0,4}$", "", stem)
    found = _IN_BRACKETS.findall(stem) or _NUMBER.findall(stem)
    return int(found[0]) if len(found) == 1 and len(found[0]) <= 9 else None


class Images:
    """The images of one language by every name that a row may use."""

    def __init__(self, paths: Sequence[str], language: str, *, alone: bool) -> None:
        """Sorts the images of a corpus.

        Args:
            paths: of all images below the root, the nearest to it first.
            language: en or zh.
            alone: no other language is read from this folder, so images in folders without a language
                are taken by their number too.
        """
        other = "zh" if language == "en" else "en"
        known = IMAGE_FOLDERS["en"] | IMAGE_FOLDERS["zh"]
        own, common = [], []
        for path in paths:
            folders = [part.casefold() for part in path.split("/")[:-1]]
            said = next((one for one in reversed(folders) if one in known), None)
            if said is not None and said in IMAGE_FOLDERS[language]:
                own.append(path)
            elif said is None and not MARKS[other].match(path.rpartition("/")[2]):
                common.append(path)
        self._exact: dict[str, str] = {}
        for path in own + common:
            self._exact.setdefault(path.rpartition("/")[2], path)
        self._plain: dict[str, str] = {}
        self._numbers: dict[int, str] = {}
        self._more: Counter[int] = Counter()
        # Where both languages lie in one folder, only the exact names tell them apart.
        for path in own + (common if alone else []):
            name = path.rpartition("/")[2]
            self._plain.setdefault(_plain(name), path)
            number = number_of(name)
            if number is not None:
                self._more[number] += number in self._numbers
                self._numbers.setdefault(number, path)
        self._how: Counter[str] = Counter()
        self._doubtful = 0

    def find(self, name: str) -> str | None:
        """Path of a row's image: by its name, by the name the archives give it, then by its number."""
        dashed = name.replace("_", "- ")
        for wanted in (name, f"{name}.jpg"):
            if wanted in self._exact:
                return self._exact[wanted]
        for wanted in (dashed, f"{dashed}.jpg"):
            if wanted in self._exact:
                self._how["'- ' in place of '_'"] += 1
                return self._exact[wanted]
        if found := self._plain.get(_plain(name)):
            self._how["another case or suffix"] += 1
            return found
        number = number_of(name)
        if number is None or number not in self._numbers:
            return None
        self._how["the number alone"] += 1
        self._doubtful += self._more[number] > 0
        return self._numbers[number]

    def lines(self) -> list[str]:
        """How images were found that do not bear the table's name, one sentence each."""
        found = [f"{count} images are found by {how}" for how, count in self._how.items()]
        if self._doubtful:
            found.append(f"{self._doubtful} of these numbers belong to several images, the first is taken")
        return found


def _plain(name: str) -> str:
    """In lower case, without suffix and blanks."""
    path = PurePosixPath(name)
    return "".join((path.stem if path.suffix[1:].isalpha() else name).casefold().split())
