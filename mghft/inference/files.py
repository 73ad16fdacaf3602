"""Files named on the command line: pictures, folders, patterns, and a list on standard input."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mghft.pipeline.corpora.adapters.paths import is_image_name, walk_files
from mghft.pipeline.text import printable, unprintable

STDIN = "-"
_MAGIC = frozenset("*?[")


@dataclass
class FoundFiles:
    """Pictures to classify, found as they are asked for.

    Attributes:
        paths: may be gone through once; a list on standard input is read as it comes.
        total: how many there are, None where only the end will tell.
        passed_by: files of folders whose names are no pictures', counted while `paths` is gone through.
    """

    paths: Iterator[Path]
    total: int | None = None
    passed_by: int = 0


def find_files(names: Iterable[str], lines: Iterable[str]) -> FoundFiles:
    """Find the files that names mean.

    A file that is named is taken whatever it is called; of a folder, whatever is below it and is called like
    a picture, hidden files apart; a name with `*`, `?` or `[` that is no file is a pattern (`**` goes down).

    Args:
        names: paths, folders, patterns, or "-" for one path a line in `lines`.
        lines: of standard input.

    Raises:
        FileNotFoundError: a name is no file, no folder and fits nothing.
        ValueError: a folder holds no picture.
    """
    found = FoundFiles(iter(()))
    sources: list[Iterator[Path]] = []
    total: int | None = 0
    for name in names:
        if name == STDIN:
            sources.append(_listed(lines))
            total = None
            continue
        paths = _named(name, found)
        total = None if total is None else total + len(paths)
        sources.append(iter(paths))
    found.paths, found.total = chain(*sources), total
    return found


def _named(name: str, found: FoundFiles) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        return _of_folder(path, found)
    if path.exists() or path.is_symlink():
        return [path]
    if _MAGIC & set(name):
        fitting = [Path(one) for one in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - absolute too
        files = [one for one in fitting if one.is_file()]
        if not files:
            raise FileNotFoundError(f"no file fits the pattern {printable(name)}")
        return files
    raise FileNotFoundError(
        f"{printable(name)} does not exist: give a picture, a folder, a pattern, or - for a list on "
        "standard input"
    )


def _of_folder(folder: Path, found: FoundFiles) -> list[Path]:
    files = list(walk_files(folder))
    images = sorted(name for name in files if is_image_name(name))
    found.passed_by += len(files) - len(images)
    if not images:
        raise ValueError(
            f"the folder {folder} holds no picture ({len(files)} other files): name files to take them "
            "whatever they are called"
        )
    return [folder / unprintable(name) for name in images]


def _listed(lines: Iterable[str]) -> Iterator[Path]:
    for line in lines:
        if name := line.rstrip("\r\n"):
            yield Path(name)
