"""The files beside a preview of many stickers: texts and pictures in pieces that the page loads on demand.

They are scripts and no JSON, since a page that was opened from a disk may load scripts but read no files.
Each calls one function of the page with its name, the token of its page, and its content.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from mghft.pipeline.exports.preview_cards import StickerCard
from mghft.pipeline.exports.preview_choice import ChosenRows
from mghft.pipeline.files import mend_folder, remove_folder, replace_folder

# Stickers a file: texts of some 0.5 MB, pictures of some 0.4 MB.
TEXTS, PICTURES = 500, 100
_INDEX = "index.js"
_MARK = "/* mghft preview */"


def files_folder(page: Path) -> Path:
    """Return where the files of a page are, beside it, as browsers name it."""
    return page.with_name(f"{page.stem}_files")


def check_files(page: Path) -> None:
    """Refuse to replace a folder that no preview has written.

    Raises:
        ValueError: there is one under the name that the page's files would have.
    """
    folder = files_folder(page)
    mend_folder(folder)
    if folder.exists() and not _is_ours(folder):
        raise ValueError(
            f"the folder {folder} already exists and is no preview's: name another page with --out"
        )


def remove_files(page: Path) -> None:
    """Remove the files of an earlier page; a folder of another kind stays."""
    folder = files_folder(page)
    if folder.exists() and _is_ours(folder):
        remove_folder(folder)


def write_files(
    page: Path, chosen: ChosenRows, cards: Iterable[StickerCard], render: Callable[[StickerCard], str]
) -> str:
    """Write texts, pictures and what the filters need, piece by piece, in place of those of an earlier page.

    Args:
        page: that they belong to.
        chosen: the stickers.
        cards: the same, in order.
        render: makes the HTML of one, without its picture.

    Returns:
        The token by which the page knows its files.

    Raises:
        OSError: they cannot be written; the earlier ones stay.
    """
    token = secrets.token_hex(8)

    def write(folder: Path) -> None:
        for number, piece in enumerate(_pieces(cards)):
            _write(folder, f"texts-{number}", token, [render(card) for card in piece])
            for start in range(0, len(piece), PICTURES):
                pictures = [card.picture for card in piece[start : start + PICTURES]]
                if any(pictures):
                    _write(folder, f"pictures-{(number * TEXTS + start) // PICTURES}", token, pictures)
        _write(folder, "index", token, dict(_facets(chosen)))

    replace_folder(files_folder(page), write)
    return token


def _pieces(cards: Iterable[StickerCard]) -> Iterator[list[StickerCard]]:
    remaining = iter(cards)
    while piece := list(islice(remaining, TEXTS)):
        yield piece


def _facets(chosen: ChosenRows) -> Iterator[tuple[str, Any]]:
    for name, facet in chosen.facets.items():
        yield name, {"names": facet.names, "of": facet.of.tolist()}


def _write(folder: Path, name: str, token: str, content: Any) -> None:
    text = json.dumps(content, separators=(",", ":"))
    (folder / f"{name}.js").write_text(f'{_MARK}previewFile("{name}","{token}",{text});\n', "ascii")


def _is_ours(folder: Path) -> bool:
    try:
        with (folder / _INDEX).open("rb") as file:
            return file.read(len(_MARK)) == _MARK.encode()
    except OSError:
        return False
