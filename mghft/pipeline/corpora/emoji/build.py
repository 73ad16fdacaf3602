"""Builds the corpus `emoji`: renders the art and writes stickers.csv with labels, splits and subsets."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mghft.pipeline.corpora.emoji.render import IconSet, load_icons, render_png
from mghft.pipeline.corpora.emoji.table import (
    CORPUS_STYLES,
    FOLDS,
    STYLE_GROUPS,
    STYLES,
    TEST_STYLES,
    VALIDATION_STYLES,
    Emoji,
    load_table,
)
from mghft.pipeline.files import check_folder, replace_folder, write_text

# The subset has the name `part` in this table, by which folders built earlier are read.
COLUMNS = ("path", "label", "split", "part", "emoji", "hexcode", "name", "style", "label_source")
UNSEEN_STYLE, UNSEEN_EMOJI, UNSEEN_BOTH = "unseen style", "unseen emoji", "unseen style and emoji"


@dataclass(frozen=True)
class Row:
    """One sticker of the corpus before it is rendered; `variants` are its splits by the variant's name."""

    emoji: Emoji
    style: str
    split: str
    subset: str
    variants: dict[str, str]

    @property
    def path(self) -> str:
        """Return where its image lies below the corpus' root."""
        return image_path(self.style, self.emoji)


def image_path(style: str, emoji: Emoji) -> str:
    """Return the path of a sticker below the corpus' root."""
    return f"images/{style}/{emoji.hexcode}.png"


def plan_rows(styles: Sequence[str] = CORPUS_STYLES) -> list[Row]:
    """Return the stickers of the corpus with their splits.

    Test are the test style and the held-out emoji, which training and validation have in no style; the subset
    says what is new. Validation is a style by itself, so that what is chosen by it is not chosen
    for the memory of drawings. Beside these splits stand those of the variants: `fold=K` tests the emoji of
    a fold in all styles and validates on those of the next, `style=S` does so with styles.
    """
    rows = []
    for style in styles:
        for emoji in load_table():
            if style in emoji.icons:
                split, subset = _split(style, emoji)
                rows.append(Row(emoji, style, split, subset, _variants(style, emoji)))
    return sorted(rows, key=lambda row: row.path)


def _split(style: str, emoji: Emoji) -> tuple[str, str]:
    """Return split and subset."""
    if style in TEST_STYLES:
        return "test", UNSEEN_BOTH if emoji.holdout else UNSEEN_STYLE
    if emoji.holdout:
        return "test", UNSEEN_EMOJI
    return ("validation" if style in VALIDATION_STYLES else "train"), ""


def _variants(style: str, emoji: Emoji) -> dict[str, str]:
    """Return the sticker's split in every variant."""
    found = {f"fold={fold}": _turn(emoji.fold, fold, FOLDS) for fold in range(FOLDS)}
    group = next((i for i, members in enumerate(STYLE_GROUPS.values()) if style in members), None)
    for number, name in enumerate(STYLE_GROUPS):
        found[f"style={name}"] = "train" if group is None else _turn(group, number, len(STYLE_GROUPS))
    return found


def _turn(part: int, tested: int, parts: int) -> str:
    """Return the split of a part when one is tested and the next one, in a circle, validates."""
    return {tested: "test", (tested + 1) % parts: "validation"}.get(part, "train")


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


def _table(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*COLUMNS, *(rows[0].variants if rows else ())))
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
            emoji.label_source,
            *row.variants.values(),
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
