"""Files that are whole as soon as they have their name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Any) -> None:
    """Calls `write(binary_file)` on a temporary file, makes it durable and gives it the name `path`.

    Raises:
        OSError: disk full, read-only folder and the like; the temporary file is removed, `path` is as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
