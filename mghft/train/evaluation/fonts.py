"""Fonts of charts: names that the usual font cannot write are written by another one, or as numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

USUAL = "DejaVu Sans"


def font_families(texts: Sequence[str]) -> list[str]:
    """Return the fonts that write these texts: the usual one, and one that has what it lacks, if any."""
    lacking = {ord(letter) for text in texts for letter in text} - _letters(findfont(FontProperties(USUAL)))
    return [USUAL] if not lacking else [USUAL, *_fonts_with(frozenset(lacking))]


def legible(texts: Sequence[str]) -> list[str]:
    """Return the texts, those that no font here can write as their numbers from 1: "№ 2"."""
    return [
        text if len(text) == 0 or _writable(text) else f"№ {place}"
        for place, text in enumerate(texts, start=1)
    ]


def _writable(text: str) -> bool:
    lacking = frozenset(map(ord, text)) - _letters(findfont(FontProperties(USUAL)))
    return not lacking or bool(_fonts_with(lacking))


@functools.cache
def _fonts_with(letters: frozenset[int]) -> list[str]:
    """Return the first font of the machine that has all of these letters, or none."""
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.style != "normal", entry.name)):
        try:
            if letters <= _letters(entry.fname):
                return [entry.name]
        except (OSError, RuntimeError):
            # A font file that went away or that FreeType cannot read.
            continue
    return []


@functools.lru_cache(maxsize=512)
def _letters(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())
