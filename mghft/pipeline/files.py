"""Files that are whole as soon as they have their name: temporary name, fsync, rename, fsync of the folder.

A crash at any instant leaves the file as it was before or as it is wanted, never half of it. Whatever this
project writes and somebody may read later goes through here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_SYNC_SINGLY = 64


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through `write(binary_file)`, durable before it has its name.

    The temporary name is not one that any reader looks for.

    Args:
        path: final name; an existing file is replaced as a whole.
        write: fills the open file.

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
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes as a whole file; raises as `write_atomically`."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write text as a whole UTF-8 file, lone surrogates as question marks; raises as `write_atomically`."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_json(path: Path, content: Any, *, allow_nan: bool = True) -> None:
    """Write what JSON can hold as a whole file, for people too: indented, letters as they are.

    Raises:
        OSError: as `write_atomically`.
        ValueError: a number is not finite while `allow_nan` is off.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n")


def check_target(path: Path, force: bool | None = None, *, option: str = "--out") -> None:
    """Refuse to replace a file unasked.

    Args:
        path: the file that is to be written.
        force: the option --force; None where a command has none.
        option: that names the file, for the message.

    Raises:
        ValueError: the path is a folder, or the file already exists and `force` is not set.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file with {option}")
    if path.exists() and not force:
        way_out = "move it away" if force is None else "replace it with --force"
        raise ValueError(f"the file {path} already exists: give another with {option}, or {way_out}")


def check_folder(path: Path, *, empty: bool = False) -> None:
    """Refuse a file where a folder is to be written, and with `empty` also a folder in use.

    Raises:
        ValueError: the path is a file, or a folder that holds something.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: give a folder with --out")
    if empty and path.is_dir() and any(path.iterdir()):
        raise ValueError(f"the folder {path} already exists and is not empty: give another with --out")


def sync(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_folder(target: Path, write: Callable[[Path], object]) -> None:
    """Fill a new folder through `write(folder)` and give it the name `target` once all of it is on disk.

    A kill between the two renames leaves the earlier folder beside it; `mend_folder` gives it its name again.

    Raises:
        OSError: it cannot be written; the earlier folder is as before.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir()
        write(fresh)
        _sync_tree(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    paths = [*folder.rglob("*"), folder]
    if len(paths) > _SYNC_SINGLY:  # a wait for each of 30,000 images would take minutes
        os.sync()
    else:
        for path in paths:
            sync(path)


def remove_folder(target: Path) -> None:
    """Remove a folder; a kill in between leaves no part of it under its name."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def mend_folder(target: Path) -> None:
    """Give the earlier folder its name again, after a kill between the two renames of `replace_folder`."""
    old = target.with_name(f".{target.name}.old")
    if old.is_dir() and not target.exists():
        old.rename(target)
