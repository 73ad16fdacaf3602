"""The files below a corpus' root: names only, no file is opened.

Folders are listed once and remembered, so that 30,000 stickers cost one listing of their folders.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mghft.pipeline.images.links import first_link_out, is_below
from mghft.pipeline.text import first_and_more, plural, printable

IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".ico",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".apng",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".tgs",
        ".webm",
    }
)
# Why a sticker is left out.
MISSING = "its image is missing"
LEAVES = "its folder is a link out of the data folder"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# So often one folder is walked that several links lead to.
_MAX_VISITS = 4
# What archives and operating systems leave behind is no part of a corpus.
IGNORED_FOLDERS = frozenset({"__MACOSX", "$RECYCLE.BIN"})


def walk_files(root: Path, leaving: list[str] | None = None) -> Iterator[str]:
    """Yield the POSIX paths of all files below a root; hidden ones are passed by.

    A link to a folder is followed where it stays below the root. Nothing behind any other is read.

    Args:
        root: folder of the corpus.
        leaving: gets the links to folders outside the root, for `leaving_note`.

    Raises:
        OSError: a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error

    base = os.path.realpath(root)
    visits: Counter[str] = Counter()

    def is_followed(folder: str, name: str) -> bool:
        link = os.path.join(folder, name)  # noqa: PTH118 - as fast as the listing
        if not os.path.islink(link):  # noqa: PTH114
            return True
        target = os.path.realpath(link)
        if not is_below(target, base):
            if leaving is not None:
                leaving.append(os.path.relpath(link, root).replace(os.sep, "/"))
            return False
        visits[target] += 1
        # Links may lead in circles, and many of them to each other.
        return visits[target] <= _MAX_VISITS and not is_below(os.path.realpath(folder), target)

    for folder, folders, names in os.walk(root, onerror=fail, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in IGNORED_FOLDERS and is_followed(folder, name)
        )
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if relative == "." else relative + "/"
        yield from (prefix + name for name in names if not name.startswith("."))


def leaving_note(links: Iterable[str]) -> str:
    """Return a sentence about links that lead out of the data folder, and the way out."""
    names = [printable(link) for link in links]
    kind = "is a link" if len(names) == 1 else "are links"
    return (
        f"{first_and_more(names)} {kind} out of the data folder, so no image behind is read: copy the files "
        "themselves there (cp -RL), or give a folder that holds both with --data"
    )


def image_files(root: Path, leaving: list[str] | None = None) -> list[str]:
    """Return the POSIX paths of all files with an image's suffix, folder by folder in the order of names.

    `leaving` is that of `walk_files`.
    """
    images = [path for path in walk_files(root, leaving) if is_image_name(path)]
    return sorted(images, key=lambda path: path.split("/"))


def nearest_first(path: str) -> tuple[int, str]:
    """Return a sort key of paths: those nearest to the root first, then by name."""
    return (path.count("/"), path)


def is_image_name(path: str) -> bool:
    """Return whether a name ends as an image's does."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - three times as fast


def name_on_disk(root: Path, name: str) -> str:
    """Return a path of a table as the file below the root is really called, where it is called otherwise.

    Windows writes backslashes, macOS decomposes letters, and blanks slip into cells. A name without such
    signs, and one that fits no file, stays as it is.
    """
    candidates = [name.strip()]
    if "\\" in name:
        candidates.append(candidates[0].replace("\\", "/"))
    if not name.isascii():
        candidates += [unicodedata.normalize(form, each) for form in ("NFC", "NFD") for each in candidates]
    if candidates == [name] or "\0" in name:
        return name
    candidates.insert(0, name)
    return next((each for each in candidates if each and os.path.lexists(root / each)), name)


def path_fault(path: str) -> str | None:
    """Return why a path from an index file must not be followed; None: it stays below its root."""
    if "\0" in path:
        return "its path holds a NUL character"
    # By hand: pathlib takes most of the time of listing a corpus.
    if path.startswith(("/", "\\")) or _DRIVE.match(path):
        return "its path is absolute"
    if ".." in path and ".." in path.replace("\\", "/").split("/"):
        return "its path leaves the data folder"
    return None


class FileLookup:
    """The files of a corpus by the paths that its index gives.

    Attributes:
        renamed: paths found under another case or suffix than the index gives, and where.
        leaving: folders that are links out of the root, for `leaving_note`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, tuple[frozenset[str], dict[str, str]]] = {}
        self._outside: set[str] = set()
        self._base = os.path.realpath(root)
        self.renamed: list[tuple[str, str]] = []
        self.leaving: list[str] = []

    def find(self, path: str) -> tuple[str | None, str]:
        """Return the path as it is on disk, or None and why: it is unsafe, or the file does not exist.

        A name that differs in case or in the image's suffix alone is taken for the file that is meant.
        """
        if fault := path_fault(path):
            return None, fault
        folder, _, name = path.rpartition("/")
        names, variants = self._list_folder(folder)
        if folder in self._outside:
            return None, LEAVES
        if name in names:
            return path, ""
        variant = variants.get(name.casefold()) or variants.get(_stem_key(name))
        if variant is None:
            return None, MISSING
        found = f"{folder}/{variant}" if folder else variant
        self.renamed.append((path, found))
        return found, ""

    def renamed_note(self) -> str:
        """Return a sentence about the renamed files."""
        pairs = (f"{printable(old)} is {printable(new)}" for old, new in self.renamed)
        count = plural(self.renamed, "image")
        return f"{count} with another case or suffix on disk: {first_and_more(pairs)}"

    def _list_folder(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
        """Return the names in a folder; and the same by their case-folded spelling and by their stem."""
        if folder not in self._folders:
            try:
                if not is_below(os.path.realpath(self._root / folder), self._base):
                    self._outside.add(folder)
                    link = first_link_out(self._root, folder)
                    self.leaving += [] if link in self.leaving else [link]
                names = sorted(entry.name for entry in os.scandir(self._root / folder))
            except (OSError, UnicodeError):
                names = []
            variants: dict[str, str] = {}
            for name in names:
                variants.setdefault(name.casefold(), name)
                if is_image_name(name):
                    variants.setdefault(_stem_key(name), name)
            self._folders[folder] = frozenset(names), variants
        return self._folders[folder]


def _stem_key(name: str) -> str:
    """Return a name without its suffix but with the dot, which tells it from whole names."""
    return os.path.splitext(name)[0].casefold() + "."  # noqa: PTH122 - three times as fast
