"""A run as one web page to look at: pictures, views, reasons of failure, filters; the page loads nothing.

A page of more than 500 stickers has files beside it (`preview_files`) that it loads on demand. Whatever comes
from the corpus or the model is escaped, and the page's policy allows no script but its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from mghft.pipeline.corpora.archives import pack_folder
from mghft.pipeline.exports.preview_cards import has_pictures, sticker_cards
from mghft.pipeline.exports.preview_choice import UNLABELLED, ChosenRows, choose_rows
from mghft.pipeline.exports.preview_files import (
    PICTURES,
    TEXTS,
    check_files,
    files_folder,
    remove_files,
    write_files,
)
from mghft.pipeline.html import check_page, page_environment, write_page
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.progress import Advance
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.views import VIEWS

# One file of so many opens at once and can be sent to others.
DEFAULT_LIMIT = 500
MARK = b'<meta name="generator" content="mghft preview">'
_SIZES = (32, 512)
_REASONS_SHOWN = 8


@dataclass(frozen=True)
class PreviewOptions:
    """The stickers of a page and the size of their pictures.

    Attributes:
        limit: at most so many stickers; None means 500, or all of a sample.
        sample: a seeded sample of so many; it depends on ids and seed alone.
        seed: of the sample.
        only: "failed" or "ok", None for both.
        view_size: longer side of a picture in pixels.
        everything: all stickers of the run.

    Raises:
        ValueError: an option has no meaning, or contradicts another.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    only: str | None = None
    view_size: int = 160
    everything: bool = False

    def __post_init__(self) -> None:
        for name, count in (("--limit", self.limit), ("--sample", self.sample)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
            if count is not None and self.everything:
                raise ValueError(f"--all takes every sticker, so leave {name} out")
        if self.only not in (None, "failed", "ok"):
            raise ValueError(f"--only is {self.only!r}: give failed or ok")
        if not _SIZES[0] <= self.view_size <= _SIZES[1]:
            raise ValueError(f"--view-size is {self.view_size}: give {_SIZES[0]} to {_SIZES[1]} pixels")

    @property
    def most(self) -> int | None:
        """Return how many stickers a page has at most; None is no limit."""
        by_default = None if self.everything or self.sample is not None else DEFAULT_LIMIT
        return by_default if self.limit is None else self.limit


class Preview(NamedTuple):
    """A written page; `files` is the folder beside it, `notes` are what its reader should know."""

    path: Path
    files: Path | None
    shown: int
    notes: list[str]

    @property
    def bytes(self) -> int:
        """Return the size of the page with its files."""
        beside = [] if self.files is None else self.files.iterdir()
        return sum(path.stat().st_size for path in (self.path, *beside))


def write_preview(
    folder: Path,
    options: PreviewOptions = PreviewOptions(),
    *,
    data: Path | None = None,
    out: Path | None = None,
    progress: Advance | None = None,
) -> Preview:
    """Write the page of a run; one shard is in memory at a time, and page and files are written as they grow.

    Up to 500 stickers are in the page itself. Of more the page holds none: `NAME_files` beside `NAME.html`
    does, in pieces that the page loads on demand.

    Args:
        folder: the run.
        options: which stickers, and how large.
        data: root of the corpus, or a sticker pack's archive, for pictures that are not in the shards.
        out: the page, default preview.html in the run folder; an older page is replaced, another file never.
        progress: called with (stickers done, stickers in all).

    Raises:
        FileNotFoundError: the folder is not a run folder, or the corpus does not exist.
        ValueError: a shard is damaged, or `out` or the folder beside it is of another kind.
    """
    if data is not None and not data.exists():
        raise FileNotFoundError(
            f"the data folder {data} does not exist: give the corpus of the run with --data"
        )
    data = None if data is None else pack_folder(data)
    manifest, status = read_manifest(folder), run_status(folder)
    path = folder / "preview.html" if out is None else out
    check_page(path, MARK, "preview")
    check_files(path)
    chosen = choose_rows(
        folder, only=options.only, sample=options.sample, seed=options.seed, limit=options.most
    )
    pictures = data is not None or has_pictures(chosen)
    notes = _notes(chosen, options, pictures)
    transform = ImageTransform.model_validate({**manifest["image"], "max_side": options.view_size})
    cards = sticker_cards(chosen, data, transform, progress)
    facts: dict[str, Any] = {
        "manifest": manifest,
        "status": status,
        "reasons": list(status["failures"].items())[:_REASONS_SHOWN],
        "more_reasons": max(0, len(status["failures"]) - _REASONS_SHOWN),
        "count": chosen.count,
        "facets": {name: facet.counts() for name, facet in chosen.facets.items()},
        "unlabelled": UNLABELLED,
        "notes": notes,
        "pictures": pictures,
        "views": VIEWS,
        "box": max(48, round(0.7 * options.view_size)),
        "mark": MARK.decode(),
        "files": None,
        "cards": cards,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if chosen.count <= DEFAULT_LIMIT:
        write_page(path, "preview.html.j2", facts)
        remove_files(path)
        return Preview(path, None, chosen.count, notes)
    module: Any = page_environment().get_template("_sticker.html.j2").module
    token = write_files(
        path, chosen, cards, lambda card: str(module.sticker(card, VIEWS, pictures, UNLABELLED, False))
    )
    beside = files_folder(path)
    facts["files"] = {"folder": quote(beside.name), "token": token, "texts": TEXTS, "pictures": PICTURES}
    write_page(path, "preview.html.j2", {**facts, "cards": ()})
    return Preview(path, beside, chosen.count, notes)


def _notes(chosen: ChosenRows, options: PreviewOptions, pictures: bool) -> list[str]:
    notes = []
    left_out = chosen.candidates - chosen.count
    if left_out:
        kind = "stickers" if options.only is None else f"{options.only} stickers"
        if options.sample is None:
            how, advice = "the first", "raise --limit, take --all, or draw some with --sample"
        else:
            how, advice = "a sample", "raise --sample (and --limit), or draw others with --seed"
        notes.append(
            f"{chosen.count} of {chosen.candidates} {kind} are on the page ({how}), "
            f"{left_out} are left out: {advice}"
        )
    if not chosen.count:
        notes.append("no sticker of the run was chosen")
    elif not pictures:
        notes.append("the page has no pictures: the run's shards hold none, so give the corpus with --data")
    return notes
