"""What lies below a corpus' root: names only, no file is opened.

Folders are listed once and remembered, so that 30,000 stickers cost one listing of their folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng", ".avif"}
)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
# What archives and operating systems leave behind is no part of a corpus.
_LEFT_BEHIND = frozenset({"__MACOSX", "$RECYCLE.BIN"})


def walk_files(root: Path) -> Iterator[str]:
    """POSIX paths of all files below a root; hidden ones and links to folders are passed by.

    Raises:
        OSError: a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _LEFT_BEHIND]
        here = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if here == "." else here + "/"
        yield from (prefix + name for name in names if not name.startswith("."))


def image_files(root: Path) -> list[str]:
    """POSIX paths of all files with an image's suffix, in the order of their parts."""
    found = [path for path in walk_files(root) if is_image_name(path)]
    return sorted(found, key=lambda path: path.split("/"))


def is_image_name(path: str) -> bool:
    """Whether a name ends as an image's does."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - three times as fast


def unsafe(path: str) -> str | None:
    """Why a path from an index file must not be followed; None: it stays below its root."""
    if "\0" in path:
        return "its path holds a NUL character"
    # By hand: pathlib takes most of the time of listing a corpus.
    if path.startswith(("/", "\\")) or _DRIVE.match(path):
        return "its path is absolute"
    if ".." in path and ".." in path.replace("\\", "/").split("/"):
        return "its path leaves the data folder"
    return None


class Present:
    """Which files are there."""

    def __init__(self, root: Path) -> None:
        """Lists nothing yet; `root` is what paths are relative to.

        Attributes:
            renamed: paths found under another case or suffix than the index file gives, and where.
        """
        self._root = root
        self._folders: dict[str, tuple[frozenset[str], dict[str, str]]] = {}
        self.renamed: list[tuple[str, str]] = []

    def find(self, path: str) -> tuple[str | None, str]:
        """The path as it is on disk, or None and why: it is unsafe, or there is no such file.

        A name that differs in case or in the image's suffix alone is taken for the file that is meant.
        """
        if reason := unsafe(path):
            return None, reason
        folder, _, name = path.rpartition("/")
        names, others = self._names(folder)
        if name in names:
            return path, ""
        other = others.get(name.casefold()) or others.get(f"{_stem(name)}.")
        if other is None:
            return None, "its image is missing"
        found = f"{folder}/{other}" if folder else other
        self.renamed.append((path, found))
        return found, ""

    def _names(self, folder: str) -> tuple[frozenset[str], dict[str, str]]:
        """Names in a folder; and by a name in lower case, and by an image's stem with a dot, the name."""
        if folder not in self._folders:
            try:
                there = sorted(entry.name for entry in os.scandir(self._root / folder))
            except (OSError, UnicodeError):
                there = []
            others: dict[str, str] = {}
            for name in there:
                others.setdefault(name.casefold(), name)
                if is_image_name(name):
                    others.setdefault(f"{_stem(name)}.", name)
            self._folders[folder] = frozenset(there), others
        return self._folders[folder]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()  # noqa: PTH122 - three times as fast
