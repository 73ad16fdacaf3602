"""A corpus on disk, read by its card into a list of stickers; no image is opened here.

How files are laid out is the business of `adapters`, one module per kind of corpus.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from pathlib import Path

from mghft.pipeline.corpora.adapters import open_adapter
from mghft.pipeline.corpora.adapters.listing import Listing, summarize_skipped
from mghft.pipeline.corpora.adapters.paths import leaving_note
from mghft.pipeline.corpora.archives import pack_folder
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.splits import apply_split_file
from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.text import NAMED

_LOG = logging.getLogger(__name__)


def load_corpus(card: Card, root: str | Path, *, strict: bool = False) -> Corpus:
    """List the stickers of a corpus.

    Stickers that cannot be used (a path out of the root, a missing image, as far as the adapter looks) are
    left out and counted. This, problems and notes are logged once a process, so every command tells them on
    stderr; the corpus holds the particulars.

    Args:
        card: the corpus' card; its labels may be left to the data.
        root: folder of the corpus; of a sticker pack also its archive, which is unpacked into the cache.
        strict: a sticker that cannot be used is an error.

    Raises:
        FileNotFoundError: the root or an index file is missing.
        ValueError: an index file is malformed, a label unknown, an id duplicated, the corpus has no stickers,
            or (`strict`) one of them cannot be used.
    """
    root = corpus_folder(card, Path(root))
    listing: Listing = open_adapter(card.adapter).read(card, root)
    check_listing(listing, root, strict=strict)
    apply_split_file(listing, root)
    for problem in listing.problems:
        _warn_once(f"{card.name}: {problem}")
    for note in listing.notes:
        _warn_once(f"note: {card.name}: {note}")
    return Corpus(
        listing.card,
        root,
        listing.stickers,
        tuple(listing.notes),
        tuple(listing.problems),
        tuple(listing.skipped),
    )


def corpus_folder(card: Card, root: Path) -> Path:
    """Return the folder below which the images of a corpus lie: the root, but for packs in archives.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError, OSError: an archive cannot be unpacked; see `archives.pack_folder`.
    """
    check_root(card, root)
    return pack_folder(root) if card.adapter == "pack" else root


def check_root(card: Card, root: Path) -> None:
    """Check that the folder of a corpus exists; a sticker pack may be a file.

    Raises:
        FileNotFoundError: it does not.
    """
    if card.adapter == "pack" and root.is_file():
        return
    if root.is_file():
        raise FileNotFoundError(
            f"the data folder {root} is a file: give the folder of the corpus {card.name} with --data "
            "(the archive of a sticker pack goes with the card 'pack')"
        )
    if not root.is_dir():
        raise FileNotFoundError(
            f"the data folder {root} does not exist: give the folder of the corpus {card.name} with --data"
        )


def check_listing(listing: Listing, root: Path, *, strict: bool) -> None:
    """Check that a corpus has stickers, each id once, and say what is left out and whether it is complete.

    Raises:
        ValueError: it has no stickers, an id is duplicated, or (`strict`) a sticker cannot be used.
    """
    card, usable, left_out = listing.card, len(listing.stickers), len(listing.skipped)
    reasons = "; ".join(summarize_skipped(listing.skipped))
    if not usable:
        suffix = f": all {left_out} are left out, {reasons}" if left_out else ""
        suffix += f"; {leaving_note(listing.links)}" if listing.links else ""
        raise ValueError(f"the corpus {card.name} below {root} has no stickers{suffix}")
    if left_out:
        count = f"{left_out} of {left_out + usable} stickers"
        of_reason = Counter(reason for _, reason in listing.skipped)
        if max(of_reason.values()) > NAMED:
            reasons += " ('mghft data check' with --left-out FILE lists all of them)"
        if strict:
            raise ValueError(f"{count} of the corpus {card.name} cannot be used: {reasons}")
        _warn_once(f"{card.name}: {count} are left out: {reasons}")
    if card.total is not None and usable + left_out != card.total:
        listing.notes.append(
            f"there are {usable + left_out:,} stickers in its files, the card says {card.total:,}"
        )
    ids: set[str] = set()
    for sticker in listing.stickers:
        if sticker.id in ids:
            raise ValueError(f"the sticker {sticker.id!r} is duplicated in the corpus {card.name}")
        ids.add(sticker.id)


@functools.cache
def _warn_once(sentence: str) -> None:
    """Log a sentence once a process: training and evaluation load a corpus several times.

    Of the processes of one training, the first one speaks for all.
    """
    if os.environ.get("RANK", "0") == "0":
        _LOG.warning("%s", sentence)
