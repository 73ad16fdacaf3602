"""Lists of stickers and their emoji, as the programs that make or export packs write them.

They differ in names and nesting alone, so one walk reads them all: WhatsApp's contents.json, signal-cli's
manifest.json, signal-sticker-tool's stickers.yaml, packpath's config.yaml, sticker-convert's emoji.txt,
LINE's productInfo.meta, answers of Telegram's bots (getStickerSet) and the result.json of Telegram Desktop.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mghft.pipeline.corpora.adapters.paths import path_fault
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.kinds import sticker_kind
from mghft.pipeline.text import one_line, valid_utf8

_EMOJI_KEYS = ("emojis", "emoji", "chr", "sticker_emoji", "emoji_list")
_FILE_KEYS = ("image_file", "file", "filename", "file_name", "fileName", "image", "path", "file_path", "src")
_ID_KEYS = ("file_unique_id", "file_id", "unique_id", "id")
_COVER_KEYS = ("tray_image_file", "trayImageFile", "cover", "thumbnail", "thumb")
_TITLE_KEYS = ("title", "name")
# YAML is read a hundred times slower than JSON.
_JSON_BYTES, _YAML_BYTES = 16 << 20, 1 << 20
_MAX_DEPTH = 40
_TEXT_LIMIT = 200
_EMOJI = re.compile(
    "[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
    "(?:[\ufe0f\u20e3\U0001f3fb-\U0001f3ff]|\u200d[\u2190-\u2bff\U0001f000-\U0001faff])*"
)


@dataclass
class PackIndex:
    """What the lists of a pack say about its files.

    Attributes:
        emoji: by the path of a sticker, blanks between several; "" where it is listed without one.
        covers: paths of trays' icons and covers, which are no stickers unless they are listed too.
        titles: of packs, by their folder ("" is the root).
        missing: file names that a list gives and that are not there.
        sources: the lists that said something.
        faults: lists that cannot be read, and why.
    """

    emoji: dict[str, str] = field(default_factory=dict)
    covers: set[str] = field(default_factory=set)
    titles: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)


def is_index_name(path: str) -> bool:
    """Return whether a file may be a list of stickers, by its name."""
    name = path.rpartition("/")[2].lower()
    is_list = name.endswith((".json", ".yaml", ".yml", ".wasticker"))
    return is_list or name in ("emoji.txt", "productinfo.meta")


def read_index(root: Path, lists: Sequence[str], images: Sequence[str]) -> PackIndex:
    """Read the lists of a pack.

    Args:
        root: of the corpus.
        lists: paths for which `is_index_name` holds.
        images: paths of the image files that they may speak of.
    """
    index = PackIndex()
    for path in lists:
        try:
            content = _parse(read_image(root, path), path)
        except ImageError as error:
            index.faults.append((path, str(error)))
            continue
        _Walk(index, path.rpartition("/")[0], images).read(content, path)
    return index


def emoji_in_name(path: str) -> str:
    """Return the emoji that a file's name holds, blanks between them."""
    return " ".join(_EMOJI.findall(path.rpartition("/")[2]))


def _parse(content: bytes, path: str) -> Any:
    """Return what a list holds; None for an animation (Lottie's JSON).

    Raises:
        ImageError: it is too large or malformed.
    """
    is_yaml = path.lower().endswith((".yaml", ".yml"))
    limit = _YAML_BYTES if is_yaml else _JSON_BYTES
    if len(content) > limit:
        raise ImageError(f"it has {len(content)} bytes, the limit is {limit}")
    if sticker_kind(content) == "lottie":
        return None
    try:
        text = content.decode("utf-8-sig")
        return yaml.safe_load(text) if is_yaml else json.loads(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ImageError(f"it is malformed: {one_line(error, 120)}") from None


class _Walk:
    """The walk through one list: entries for files below its folder go into the index."""

    def __init__(self, index: PackIndex, base: str, images: Sequence[str]) -> None:
        self._index, self._base = index, base
        self._prefix = f"{base}/" if base else ""
        self._files = [path for path in images if path.startswith(self._prefix)]
        self._exact = set(self._files)
        self._by_name: dict[str, list[str]] = {}
        for path in self._files:
            name = path.rpartition("/")[2].casefold()
            for key in {name, name.rpartition(".")[0] or name}:
                self._by_name.setdefault(key, []).append(path)
        self._seen: set[int] = set()
        self._found = 0

    def read(self, content: Any, path: str) -> None:
        self._visit(content, "", 0)
        if self._found:
            self._index.sources.append(path)

    def _visit(self, value: Any, folder: str, depth: int) -> None:
        if depth > _MAX_DEPTH or not isinstance(value, dict | list) or id(value) in self._seen:
            return
        # YAML's references make one object of many.
        self._seen.add(id(value))
        if isinstance(value, list):
            before = self._found
            for item in value:
                self._visit(item, folder, depth + 1)
            if before == self._found:
                self._match_by_order(value)
            return
        folder = str(value.get("identifier") or folder)
        self._take_title(value, folder)
        self._take_entry(value, folder)
        self._take_mapping(value, folder)
        for key in _COVER_KEYS:
            cover = value.get(key)
            name = next(_texts(cover, _FILE_KEYS), None) if isinstance(cover, dict) else cover
            if isinstance(name, str) and (path := self._resolve(name, folder)):
                self._index.covers.add(path)
        for key, item in value.items():
            if key not in _COVER_KEYS:
                self._visit(item, folder, depth + 1)

    def _take_entry(self, value: dict[str, Any], folder: str) -> None:
        """Take a sticker's own entry: its file, or an id by which its file is called, and its emoji."""
        key = next((key for key in _EMOJI_KEYS if key in value), None)
        emoji = None if key is None else _emoji_text(value[key])
        names = list(_texts(value, _FILE_KEYS))
        for name in [*names, *(_texts(value, _ID_KEYS) if emoji is not None else ())]:
            if path := self._resolve(name, folder):
                self._put(path, emoji or "")
                return
        if names and emoji is not None:
            self._index.missing.append(self._prefix + names[0])

    def _take_mapping(self, value: dict[str, Any], folder: str) -> None:
        """Take what a mapping from names of files to emoji says."""
        for key, item in value.items():
            emoji = _emoji_text(item)
            if (
                isinstance(key, str)
                and emoji
                and _EMOJI.search(emoji)
                and (path := self._resolve(key, folder))
            ):
                self._put(path, emoji)

    def _match_by_order(self, entries: list[Any]) -> None:
        """Give numbered files the emoji of as many entries that name no file, in the order of the numbers."""
        if not all(isinstance(one, dict) and any(key in one for key in _EMOJI_KEYS) for one in entries):
            return
        if any(next(_texts(one, _FILE_KEYS), None) for one in entries):
            return
        stems = {path: path.rpartition("/")[2].rpartition(".")[0] for path in self._files}
        if len(entries) != len(stems) or not all(stem.isdecimal() for stem in stems.values()):
            return
        for one, path in zip(entries, sorted(stems, key=lambda path: int(stems[path])), strict=True):
            self._put(path, _emoji_text(next(one[key] for key in _EMOJI_KEYS if key in one)) or "")

    def _take_title(self, value: dict[str, Any], folder: str) -> None:
        facts = next((value[key] for key in ("meta", "pack") if isinstance(value.get(key), dict)), value)
        if not any(isinstance(value.get(key), list | dict) for key in ("stickers", "items")):
            return
        title = next(_texts(facts, _TITLE_KEYS), None)
        if title is None and isinstance(names := facts.get("title"), dict):
            # LINE's, by language.
            title = next(_texts(names, ("en", *map(str, names))), None)
        if title is not None:
            place = self._prefix + folder if any(self._below(folder)) else self._base
            self._index.titles.setdefault(place, one_line(valid_utf8(title), _TEXT_LIMIT))

    def _below(self, folder: str) -> Iterator[str]:
        start = f"{self._prefix}{folder}/"
        return (path for path in self._files if folder and path.startswith(start))

    def _put(self, path: str, emoji: str) -> None:
        self._found += 1
        self._index.emoji[path] = emoji or self._index.emoji.get(path, "")

    def _resolve(self, name: str, folder: str) -> str | None:
        """Return the file that a list means: beside it, in the pack's folder, or the only one so called."""
        name = name.replace("\\", "/").removeprefix("./")
        if not name or path_fault(name):
            return None
        for place in (f"{self._prefix}{folder}/{name}", self._prefix + name):
            if place in self._exact:
                return place
        found = self._by_name.get(name.rpartition("/")[2].casefold(), [])
        inside = [path for path in found if path.startswith(f"{self._prefix}{folder}/")]
        found = inside or found
        return found[0] if len(found) == 1 else None


def _texts(value: dict[str, Any], keys: Sequence[str]) -> Iterator[str]:
    """Yield the texts and whole numbers under these keys."""
    for key in keys:
        item = value.get(key)
        if isinstance(item, str | int) and not isinstance(item, bool) and str(item):
            yield str(item)


def _emoji_text(value: Any) -> str | None:
    """Return emoji as one text, None where a value is neither a text nor a list of texts."""
    if isinstance(value, list | tuple):
        if not all(isinstance(one, str) for one in value):
            return None
        value = " ".join(one for one in value if one.strip())
    if not isinstance(value, str):
        return "" if value is None else None
    return one_line(unicodedata.normalize("NFC", valid_utf8(value)), _TEXT_LIMIT)
