"""Sticker packs of chat services: one folder or several, with emoji where a list or the names give them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mghft.pipeline.corpora.adapters.listing import Listing
from mghft.pipeline.corpora.adapters.pack_index import PackIndex, emoji_in_name, is_index_name, read_index
from mghft.pipeline.corpora.adapters.paths import MISSING, is_image_name, walk_files
from mghft.pipeline.corpora.archives import read_left_out
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.kinds import is_image_file, sticker_kind
from mghft.pipeline.text import first_and_more, one_line, plural, printable, valid_utf8

# The last two are LINE's: tabs of its keyboard, and the small picture of each sticker.
_COVER_NAME = re.compile(r"tray|cover|tray[_-]?icon|(tab_(on|off)|main|\d+_key)(@2x)?", re.I)
# LINE's folders of animated stickers, each beside the stills of the same names.
_ANIMATED = ("animation@2x", "animation")
_TEXT_LIMIT = 200


def read(card: Card, root: Path) -> Listing:
    """List the stickers of a pack, or of the packs below a folder; they have no label and no split.

    A sticker's topic is the title of its pack, its emoji those that the pack's maker gave.
    """
    listing = Listing(card)
    links: list[str] = []
    files = sorted(walk_files(root, links), key=lambda path: path.split("/"))
    listing.note_links(links, problem=True)
    for name, reason in read_left_out(root):
        listing.skip(name, reason)
    lists = [path for path in files if is_index_name(path)]
    animations = {path for path in lists if path.lower().endswith(".json") and _is_animation(root, path)}
    images = [path for path in files if _is_image(root, path) or path in animations]
    index = read_index(root, [path for path in lists if path not in animations], images)
    covers = set(_find_covers(images, files, index))
    titles = index.titles | _read_titles(root, files)
    for path in images:
        if path in covers:
            continue
        emoji = index.emoji.get(path) or emoji_in_name(path)
        listing.stickers.append(
            Sticker(printable(path), path, "all", topic=_title_of(path, titles), emoji=emoji)
        )
    for path in index.missing:
        listing.skip(path, MISSING)
    _add_notes(listing, index, sorted(covers), sorted({*files} - {*images} - {*lists}))
    return listing


def _is_image(root: Path, path: str) -> bool:
    if "." in path.rpartition("/")[2]:
        return is_image_name(path)
    return is_image_file(root, path)


def _is_animation(root: Path, path: str) -> bool:
    """Return whether a JSON file is itself a sticker: an animation, as exporters unpack Telegram's."""
    try:
        return sticker_kind(read_image(root, path)) == "lottie"
    except ImageError:
        return False


def _find_covers(images: list[str], files: list[str], index: PackIndex) -> Iterator[str]:
    """Yield the images that are a pack's icon: as a list says, by their name, or in WhatsApp's or LINE's way.

    WhatsApp's archives without a list hold WebP stickers, one PNG of the tray, title.txt and author.txt.
    LINE's hold a still beside each animation.
    """
    present = {*images}
    folders: dict[str, list[str]] = {}
    for path in images:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    for folder, inside in folders.items():
        prefix = f"{folder}/" if folder else ""
        by_suffix = Counter(PurePosixPath(path).suffix.lower() for path in inside)
        is_whatsapp = {f"{prefix}title.txt", f"{prefix}author.txt"} <= {*files}
        has_tray = is_whatsapp and by_suffix[".png"] == 1 and by_suffix[".webp"] == len(inside) - 1 > 0
        for path in inside:
            pure = PurePosixPath(path)
            is_cover = path in index.covers or (has_tray and pure.suffix.lower() == ".png")
            is_cover |= len(inside) > 1 and _COVER_NAME.fullmatch(pure.stem) is not None
            is_cover |= any(f"{prefix}{animated}/{pure.name}" in present for animated in _ANIMATED)
            if is_cover and path not in index.emoji:
                yield path


def _read_titles(root: Path, files: list[str]) -> dict[str, str]:
    """Return what the files title.txt say, by folder."""
    titles = {}
    for path in files:
        if path.rpartition("/")[2].lower() == "title.txt":
            try:
                text = read_image(root, path)[: 4 * _TEXT_LIMIT].decode("utf-8-sig", "replace")
            except ImageError:
                continue
            titles[path.rpartition("/")[0]] = one_line(valid_utf8(text), _TEXT_LIMIT)
    return titles


def _title_of(path: str, titles: dict[str, str]) -> str | None:
    """Return the title of the nearest folder that has one, else the name of the sticker's own folder."""
    folder = own = path.rpartition("/")[0]
    while True:
        if titles.get(folder):
            return titles[folder]
        if not folder:
            return printable(own) or None
        folder = folder.rpartition("/")[0]


def _add_notes(listing: Listing, index: PackIndex, covers: list[str], others: list[str]) -> None:
    stickers = listing.stickers
    topics = list(dict.fromkeys(one.topic for one in stickers if one.topic))
    if topics:
        listing.notes.append(f"{plural(topics, 'pack')}: {first_and_more(topics)}")
    given = sum(bool(one.emoji) for one in stickers)
    source = f" from {first_and_more(map(printable, index.sources))}" if index.sources else ""
    listing.notes.append(f"emoji of {given} of {plural(stickers, 'sticker')}{source}")
    if covers:
        named = first_and_more(map(printable, covers))
        listing.notes.append(f"left out, {plural(covers, 'icon')}, cover or still of a pack: {named}")
    for path, reason in index.faults:
        listing.notes.append(f"the list {printable(path)} is not read: {printable(reason)}")
    others = [path for path in others if not path.lower().endswith(".txt")]
    if others:
        named = first_and_more(map(printable, others))
        listing.notes.append(f"left out, {plural(others, 'file')} of no kind that is read: {named}")
