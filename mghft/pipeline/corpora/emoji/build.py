"""Builds the corpus `emoji`: renders the art styles and writes stickers.csv with labels, splits and parts."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mghft.pipeline.corpora.emoji.render import load_icons, render_png
from mghft.pipeline.corpora.emoji.table import CORPUS_STYLES, STYLES, TEST_STYLES, Emoji, load_table

VALIDATION_SHARE = 0.15
COLUMNS = ("path", "label", "split", "part", "emoji", "hexcode", "name", "style")


@dataclass(frozen=True)
class Row:
    """One sticker of the corpus before it is rendered."""

    emoji: Emoji
    style: str
    split: str
    part: str

    @property
    def path(self) -> str:
        return image_path(self.style, self.emoji)


def image_path(style: str, emoji: Emoji) -> str:
    """Where a sticker lies below the corpus' root."""
    return f"images/{style}/{emoji.hexcode}.png"


def plan_rows(styles: Sequence[str] = CORPUS_STYLES, seed: int = 0) -> list[Row]:
    """The stickers of the corpus with their splits.

    A test style is test alone: part `unseen` for the emoji that are held out, `seen` for the others. Of the
    other styles the held-out emoji are dropped, and per label the VALIDATION_SHARE of images with the
    smallest seeded hash is validation: the choice hangs on nothing but the seed and the images.
    """
    rows: list[Row] = []
    pool: dict[str, list[tuple[Emoji, str]]] = defaultdict(list)
    for style in styles:
        for emoji in load_table():
            if style not in emoji.icons:
                continue
            if style in TEST_STYLES:
                rows.append(Row(emoji, style, "test", "unseen" if emoji.holdout else "seen"))
            elif not emoji.holdout:
                pool[emoji.label].append((emoji, style))
    for members in pool.values():
        members.sort(key=lambda member: _hash(seed, image_path(member[1], member[0])))
        border = round(len(members) * VALIDATION_SHARE)
        for index, (emoji, style) in enumerate(members):
            rows.append(Row(emoji, style, "validation" if index < border else "train", ""))
    return sorted(rows, key=lambda row: row.path)


def build_emoji_corpus(
    out: Path,
    cache: Path | None = None,
    styles: Sequence[str] = CORPUS_STYLES,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Builds the corpus below `out`: images/STYLE/HEXCODE.png, stickers.csv and ATTRIBUTION.md.

    Args:
        out: the corpus' root; files of an earlier build are replaced.
        cache: folder of fetched npm tarballs; None for the user's cache folder.
        styles: art styles to render; the default are those of the data card.
        progress: gets one line per style.

    Returns:
        `out`.

    Raises:
        ValueError: a style that does not exist, or a package that is not the pinned one.
        FileNotFoundError: there is no npm to fetch packages with.
    """
    unknown = [style for style in styles if style not in STYLES]
    if unknown:
        raise ValueError(f"There is no art style {unknown[0]!r}; choose from {', '.join(STYLES)}.")
    rows = plan_rows(styles)
    for style in styles:
        mine = [row for row in rows if row.style == style]
        if progress is not None:
            progress(f"{style}: rendering {len(mine)} stickers")
        icons = load_icons(style, cache)
        (out / "images" / style).mkdir(parents=True, exist_ok=True)
        for row in mine:
            _write(out / row.path, render_png(icons.svg(row.emoji.icons[style])))
    _write(out / "ATTRIBUTION.md", _attribution(styles).encode())
    # Written last: a corpus with a table is a whole one.
    _write(out / "stickers.csv", _table(rows).encode())
    return out


def _hash(seed: int, path: str) -> str:
    return hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()


def _table(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        e = row.emoji
        writer.writerow((row.path, e.label, row.split, row.part, e.emoji, e.hexcode, e.name, row.style))
    return stream.getvalue()


def _attribution(styles: Sequence[str]) -> str:
    lines = ["# Art in this folder\n", "The drawings were rendered to PNG and are otherwise unchanged.\n"]
    for style in (STYLES[name] for name in styles):
        lines.append(
            f"- `images/{style.name}`: {style.title} by {style.author}, {style.license}, {style.source}"
        )
    return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
