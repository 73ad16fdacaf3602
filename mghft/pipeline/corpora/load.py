"""A corpus on disk, read by its card into a list of stickers; no image is opened here.

How files are laid out is the business of `adapters`, one module per kind of corpus.
"""

from __future__ import annotations

import functools
import importlib
import logging
from pathlib import Path

from mghft.pipeline.corpora.adapters.listing import Listing, summed_up
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.splits import apply_split_file
from mghft.pipeline.corpora.sticker import SPLIT_NAMES, Corpus, Sticker
from mghft.pipeline.text import printable, unprintable

__all__ = ["SPLIT_NAMES", "Corpus", "Sticker", "load_corpus", "printable", "unprintable"]

_LOG = logging.getLogger(__name__)


def check_root(card: Card, root: Path) -> None:
    """
    Raises:
        FileNotFoundError: the folder of the corpus does not exist.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"the data folder {root} does not exist: give the folder of the corpus {card.name} with --data"
        )


def load_corpus(card: Card, root: str | Path, *, strict: bool = False) -> Corpus:
    """Lists the stickers of a corpus.

    Stickers that cannot be used (a path out of the root, a missing image, as far as the adapter looks) are
    left out and counted; the program says so once on stderr, the corpus holds the particulars.

    Args:
        card: the corpus' card; its labels may be left to the data.
        root: folder of the corpus.
        strict: a sticker that cannot be used is an error.

    Raises:
        FileNotFoundError: the root or an index file is missing.
        ValueError: an index file is malformed, a label unknown, an id given twice, nothing is there, or
            (`strict`) a sticker cannot be used.
    """
    root = Path(root)
    check_root(card, root)
    found: Listing = importlib.import_module(f"mghft.pipeline.corpora.adapters.{card.adapter}").read(
        card, root
    )
    _judge(found, card, root, strict)
    seen: set[str] = set()
    for sticker in found.stickers:
        if sticker.id in seen:
            raise ValueError(f"the corpus {card.name} lists the sticker {sticker.id!r} twice")
        seen.add(sticker.id)
    apply_split_file(found, root)
    for problem in found.problems:
        _say(f"{card.name}: {problem}")
    return Corpus(
        found.card, root, found.stickers, tuple(found.notes), tuple(found.problems), tuple(found.skipped)
    )


def _judge(found: Listing, card: Card, root: Path, strict: bool) -> None:
    """Refuses a listing without stickers and, if strict, one not whole; else says what is left out."""
    left_out = "; ".join(summed_up(found.skipped))
    if not found.stickers:
        more = f": all {len(found.skipped)} are left out, {left_out}" if left_out else ""
        raise ValueError(f"the corpus {card.name} below {root} has no stickers{more}")
    if left_out:
        sentence = f"{len(found.skipped)} of {len(found.skipped) + len(found.stickers)} stickers"
        if strict:
            raise ValueError(f"{sentence} of the corpus {card.name} cannot be used: {left_out}")
        _say(f"{card.name}: {sentence} are left out: {left_out}")
    whole = len(found.stickers) + len(found.skipped)
    if card.total is not None and whole != card.total:
        found.notes.append(f"there are {whole:,} stickers in its files, the card says {card.total:,}")


@functools.cache
def _say(sentence: str) -> None:
    """On stderr, once a process: training and evaluation load a corpus several times."""
    _LOG.warning("%s", sentence)
