"""Links on the way to a file: whether they stay below the root of a corpus, and which one does not."""

from __future__ import annotations

import os
from pathlib import Path


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder or lies in it; both resolved, as of `os.path.realpath`."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def first_link_out(root: Path, path: str) -> str:
    """Return the shortest beginning of a POSIX path below `root` that leads out of it through a link."""
    base = os.path.realpath(root)
    pieces = path.split("/")
    beginnings = ("/".join(pieces[: number + 1]) for number in range(len(pieces)))
    return next((one for one in beginnings if not is_below(os.path.realpath(root / one), base)), path)
