"""Sticker packs in archives (ZIP, whatever its suffix): unpacked once, within limits, into the user's cache.

The folder is named by the archive's content and complete as soon as it has its name, so a kill leaves nothing
that looks unpacked, and every command finds the same folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.adapters.paths import IGNORED_FOLDERS, image_files, path_fault
from mghft.pipeline.files import replace_folder, write_json
from mghft.pipeline.images.decode import MAX_FILE_BYTES
from mghft.pipeline.text import printable

SUFFIXES = frozenset({".wastickers", ".stickerpack", ".zip"})
CONTENTS = ".mghft-pack.json"
MAX_FILES = 10_000
MAX_BYTES = 2 << 30
# Images hardly shrink, and lists of them are small: more than so many times its size is a bomb.
_MAX_RATIO = 50
_ALWAYS_BYTES = 64 << 20
# The record at an archive's end, which says how long its table is, and where that of large archives lies.
_END, _END_64, _END_BYTES = b"PK\x05\x06", b"PK\x06\x07", 22
_TABLE_BYTES = 16 << 20
_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
# Raised when the same archive is unpacked in another way.
_VERSION = 1
# What the names in an archive may be the cause of; the rest (disk full, read only) is not the archive's.
_OF_NAMES = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.EILSEQ}
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError)


def default_cache() -> Path:
    """Return the folder where packs are unpacked: XDG_CACHE_HOME or ~/.cache, below `mghft/packs`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mghft" / "packs"


def pack_folder(path: Path, cache: Path | None = None) -> Path:
    """Return the folder that holds the stickers of what a user gives as a pack.

    Args:
        path: a folder, which is used as it is; an archive; or a folder of archives and no image, each of
            which becomes a folder of its own.
        cache: where archives are unpacked, default `default_cache()`.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: the file is no archive, is damaged or goes over the limits.
        OSError: the cache cannot be written.
    """
    if path.is_file():
        if not _is_archive(path):
            raise ValueError(
                f"{path} is no sticker pack: give a folder, or an archive (.wastickers or another ZIP)"
            )
        return unpack({"": path}, cache)
    if not path.is_dir():
        raise FileNotFoundError(f"the pack {path} does not exist: give its folder or archive with --data")
    archives = {one.name: one for one in sorted(path.iterdir()) if _is_named_archive(one)}
    return unpack(archives, cache) if archives and not image_files(path) else path


def unpack(archives: Mapping[str, Path], cache: Path | None = None) -> Path:
    """Unpack archives side by side and return the folder; one that holds them already is returned at once.

    Entries that are unsafe (a path out of the folder, a link), damaged or too large are left out, the others
    kept; the file `CONTENTS` in the folder names them.

    Args:
        archives: by the folder that each is unpacked into; "" is the whole folder.
        cache: folder above.

    Raises:
        ValueError: the only archive is damaged or goes over the limits; of several it is left out.
        OSError: the cache cannot be written.
    """
    cache = (cache or default_cache()).resolve()
    digests = {name: _sha256(path) for name, path in archives.items()}
    key = hashlib.sha256(json.dumps([_VERSION, digests], sort_keys=True).encode()).hexdigest()[:24]
    folder = cache / key
    if _is_whole(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".{key}.lock"):
            if not _is_whole(folder):
                replace_folder(folder, lambda fresh: _fill(fresh, archives))
    except OSError as error:
        raise OSError(
            f"the pack cannot be unpacked below {cache} ({error.strerror or error}): "
            "name another folder with the variable XDG_CACHE_HOME"
        ) from error
    return folder


def read_left_out(folder: Path) -> list[tuple[str, str]]:
    """Return name and reason of what was left out when a folder was unpacked; of another folder nothing."""
    contents = _read_contents(folder)
    rows = contents.get("left_out")
    return [(str(name), str(reason)) for name, reason in rows] if isinstance(rows, list) else []


def _fill(folder: Path, archives: Mapping[str, Path]) -> None:
    left_out: list[tuple[str, str]] = []
    for name, path in archives.items():
        target = folder / name
        target.mkdir(exist_ok=True)
        try:
            _unpack_one(path, target, f"{name}/" if name else "", left_out)
        except ValueError as error:
            if not name:
                raise
            shutil.rmtree(target)
            left_out.append((name, str(error)))
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    contents = {
        "archives": {name: path.name for name, path in archives.items()},
        "left_out": [(printable(name), printable(reason)) for name, reason in left_out],
        "files": {printable(name): size for name, size in files.items()},
    }
    write_json(folder / CONTENTS, contents)


def _unpack_one(path: Path, folder: Path, prefix: str, left_out: list[tuple[str, str]]) -> None:
    _check_table(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not _is_passed_by(entry)]
            _check_limits(entries, path)
            taken: set[str] = set()
            for entry in entries:
                fault = _entry_fault(entry) or _write_entry(archive, entry, folder, taken)
                if fault is not None:
                    left_out.append((prefix + entry.orig_filename, fault))
    except _DAMAGE as error:
        raise ValueError(f"the archive {path} is damaged ({error}): download it again") from None


def _check_table(path: Path) -> None:
    """Refuse an archive by the size of its table, which `zipfile` reads whole before it can be asked."""
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _END_BYTES - 65_535)
        file.seek(start)
        tail = file.read()
        place = len(tail) - _END_BYTES
        if tail[place : place + 4] != _END:
            place = tail.rfind(_END)
        if place < 0 or place + _END_BYTES > len(tail):
            return  # `zipfile` says what is wrong.
        (size,) = struct.unpack_from("<I", tail, place + 12)
        if place >= 20 and tail[place - 20 : place - 16] == _END_64:
            file.seek(min(struct.unpack_from("<Q", tail, place - 12)[0], start + place) + 40)
            size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(file.read(8), "little"))
    if size > _TABLE_BYTES:
        raise ValueError(f"the archive {path} has a table of {size:,} bytes, the limit is {_TABLE_BYTES:,}")


def _check_limits(entries: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse a bomb by what its table says, which bounds what is unpacked of each entry."""
    if len(entries) > MAX_FILES:
        raise ValueError(f"the archive {path} holds {len(entries)} files, the limit is {MAX_FILES}")
    size = sum(entry.file_size for entry in entries)
    limit = min(MAX_BYTES, _ALWAYS_BYTES + _MAX_RATIO * path.stat().st_size)
    if size > limit:
        raise ValueError(
            f"the archive {path} would unpack to {size:,} bytes, the limit for its size is {limit:,}: "
            "unpack it yourself and give the folder, if you trust it"
        )


def _is_passed_by(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry is a folder, hidden, or what operating systems leave behind."""
    parts = _parts(entry.orig_filename)
    hidden = any((part.startswith(".") and part != "..") or part in IGNORED_FOLDERS for part in parts)
    return entry.is_dir() or hidden


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry is not unpacked, None where it may be."""
    if fault := path_fault(entry.orig_filename):
        return fault
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "it is a link"
    if kind not in (0, stat.S_IFREG):
        return "it is no regular file"
    if entry.flag_bits & 1:
        return "it is encrypted"
    if entry.file_size > MAX_FILE_BYTES:
        return f"it has {entry.file_size} bytes, the limit is {MAX_FILE_BYTES}"
    return None


def _write_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, taken: set[str]
) -> str | None:
    """Unpack one entry; return why it could not be."""
    name = "/".join(_parts(entry.orig_filename))
    if not name or name in taken:
        return "its name occurs twice" if name else "it has no name"
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
    except _DAMAGE:
        target.unlink(missing_ok=True)
        return "it is damaged in the archive"
    except OSError as error:
        if error.errno not in _OF_NAMES:
            raise
        return f"its name cannot be written ({error.strerror})"
    taken.add(name)
    return None


def _parts(name: str) -> list[str]:
    """Return the parts of a path in an archive; Windows' tools write backslashes."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _STARTS


def _is_named_archive(path: Path) -> bool:
    is_named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return is_named and path.is_file() and _is_archive(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(folder: Path) -> bool:
    """Return whether all that was unpacked is still there."""
    files = _read_contents(folder).get("files")
    if not isinstance(files, dict):
        return False
    found = {
        printable(path.relative_to(folder).as_posix()): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != CONTENTS
    }
    return found == files


def _read_contents(folder: Path) -> dict[str, Any]:
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process unpack an archive at a time; the lock goes with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
