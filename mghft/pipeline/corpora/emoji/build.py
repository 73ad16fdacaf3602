"""Builds the corpus `emoji`: renders the art and writes stickers.csv with labels, splits and subsets."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mghft.pipeline.corpora.emoji.render import IconSet, load_icons, render_png
from mghft.pipeline.corpora.emoji.table import CORPUS_STYLES, STYLES, TEST_STYLES, Emoji, load_table
from mghft.pipeline.files import check_folder, replace_folder, write_text

VALIDATION_SHARE = 0.15
# The subset has the name `part` in this table, by which folders built earlier are read.
COLUMNS = ("path", "label", "split", "part", "emoji", "hexcode", "name", "style")


@dataclass(frozen=True)
class Row:
    """One sticker of the corpus before it is rendered."""

    emoji: Emoji
    style: str
    split: str
    subset: str

    @property
    def path(self) -> str:
        """Return where its image lies below the corpus' root."""
        return image_path(self.style, self.emoji)


def image_path(style: str, emoji: Emoji) -> str:
    """Return the path of a sticker below the corpus' root."""
    return f"images/{style}/{emoji.hexcode}.png"


def plan_rows(styles: Sequence[str] = CORPUS_STYLES, seed: int = 0) -> list[Row]:
    """Return the stickers of the corpus with their splits.

    A test style is test alone: subset `unseen` for the emoji that are held out, `seen` for the others. Of the
    other styles the held-out emoji are dropped, and per label the VALIDATION_SHARE of images with the
    smallest seeded hash is validation: the choice depends on nothing but the seed and the images.
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
    """Build the corpus below `out`: images/STYLE/HEXCODE.png, stickers.csv and ATTRIBUTION.md.

    A new folder has its name once all of it is written. In an existing one, each style is replaced as a
    whole, and what else lies there stays.

    Args:
        out: the corpus' root; files of an earlier build are replaced.
        cache: folder of fetched npm tarballs; None for the user's cache folder.
        styles: art styles to render; the default are those of the data card.
        progress: gets one line per style.

    Returns:
        `out`.

    Raises:
        ValueError: a style does not exist, a package is not the pinned one, or `out` is a file.
        FileNotFoundError: npm, which fetches the packages, is not installed.
    """
    unknown = [style for style in styles if style not in STYLES]
    if unknown:
        raise ValueError(f"the art style {unknown[0]!r} does not exist: choose from {', '.join(STYLES)}")
    check_folder(out)
    rows = plan_rows(styles)

    def write(folder: Path) -> None:
        for style in styles:
            emoji = [row.emoji for row in rows if row.style == style]
            if progress is not None:
                progress(f"{style}: rendering {len(emoji)} stickers")
            replace_folder(
                folder / "images" / style, partial(_draw, emoji=emoji, icons=load_icons(style, cache))
            )
        write_text(folder / "ATTRIBUTION.md", _attribution(styles))
        # Written last: a corpus with a table is a whole one.
        write_text(folder / "stickers.csv", _table(rows))

    if out.exists():
        write(out)
    else:
        replace_folder(out, write)
    return out


def _draw(folder: Path, emoji: Sequence[Emoji], icons: IconSet) -> None:
    for each in emoji:
        # The folder has no name yet and is synced as a whole.
        (folder / f"{each.hexcode}.png").write_bytes(render_png(icons.svg(each.icons[icons.style])))


def _hash(seed: int, path: str) -> str:
    return hashlib.sha256(f"{seed}:{path}".encode()).hexdigest()


def _table(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        emoji = row.emoji
        cells = (
            row.path,
            emoji.label,
            row.split,
            row.subset,
            emoji.emoji,
            emoji.hexcode,
            emoji.name,
            row.style,
        )
        writer.writerow(cells)
    return stream.getvalue()


def _attribution(styles: Sequence[str]) -> str:
    lines = ["# Art in this folder\n", "The drawings were rendered to PNG and are otherwise unchanged.\n"]
    for style in map(STYLES.__getitem__, styles):
        lines.append(
            f"- `images/{style.name}`: {style.title} by {style.author}, {style.license}, {style.source}"
        )
    return "\n".join(lines) + "\n"
