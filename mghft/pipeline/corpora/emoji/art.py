"""What eye and stand-in learn from: every emoji of the set-aside styles as a small picture, with its words.

Of the corpus' table only hexcodes and names of icons are read, never a label: which emotion a sticker shows
has no part in these trainings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mghft.pipeline.corpora.emoji.drawings import draw
from mghft.pipeline.corpora.emoji.packages import packages, read_json
from mghft.pipeline.corpora.emoji.render import IconSet, load_icons
from mghft.pipeline.corpora.emoji.table import Emoji, load_table

RENDERED, SIDE = 144, 72
# Of emojibase's groups: smileys, people, and those that are no pictures of anything (components, flags).
SMILEYS, PEOPLE, LEFT_OUT = 0, 1, frozenset({2, 9})
CORPUS_WEIGHT, SMILEY_WEIGHT, PEOPLE_WEIGHT = 3.0, 3.0, 1.5
FACES_SHARE = 0.9
SHORTCODES = ("cldr", "emojibase", "emojibase-legacy", "github", "iamcal", "joypixels")
BLANK = 0.05


@dataclass(frozen=True)
class Known:
    """One emoji as emojibase has it.

    Attributes:
        tags: published with it, in emojibase's order.
        group: emojibase's number.
        names: what its icon may be called, in sets that are tried one after the other.
    """

    hexcode: str
    label: str
    tags: tuple[str, ...]
    group: int
    names: tuple[tuple[str, ...], ...]

    @property
    def words(self) -> str:
        """Return label and tags, as a text encoder reads them."""
        return f"{self.label}: {', '.join(self.tags)}"


@dataclass(frozen=True)
class Art:
    """Pictures as tensors; row i of each belongs to one drawing.

    Attributes:
        pictures: uint8 [N, 3, S, S], RGB on white.
        identity: int64 [N], index into `known`.
        style: int64 [N], index into the styles that were asked for.
        weight: float32 [N], how often a drawing is drawn for a batch, in proportion.
        flippable: bool [N], False where left and right matter.
        known: every identity.
        counts: drawings of each style.
    """

    pictures: Tensor
    identity: Tensor
    style: Tensor
    weight: Tensor
    flippable: Tensor
    known: tuple[Known, ...]
    counts: Mapping[str, int]

    @property
    def words(self) -> tuple[str, ...]:
        """Return label and tags of every identity."""
        return tuple(emoji.words for emoji in self.known)


def load_known(cache: Path | None = None) -> tuple[Known, ...]:
    """Return every emoji of emojibase but flags and components; skin tones are no entries of their own."""
    package = packages()["emojibase-data"]
    shortcodes = [read_json(package, f"en/shortcodes/{name}.json", cache) for name in SHORTCODES]
    known = []
    for row in read_json(package, "en/data.json", cache):
        if "group" not in row or row["group"] in LEFT_OUT:
            continue
        code, label = row["hexcode"], row["label"]
        names = ((label,), *(_codes(table, code) for table in shortcodes))
        known.append(Known(code, label, tuple(row.get("tags", ())), row["group"], names))
    return tuple(known)


def find_icons(icons: IconSet, known: Sequence[Known], table: Iterable[Emoji]) -> dict[str, str]:
    """Return the icon of every emoji that a style draws, by hexcode.

    The corpus' table comes first, then the published label, then one set of shortcodes after the other. A
    name that two emoji of a set share tells nothing, and no icon belongs to two emoji.
    """
    by_name: dict[str, str] = {}
    for own in (*icons.icons, *icons.aliases):
        by_name.setdefault(_normalised(own), own)
    found = {emoji.hexcode: emoji.icons[icons.style] for emoji in table if icons.style in emoji.icons}
    taken = set(found.values())
    for level in range(1 + len(SHORTCODES)):
        shared = Counter(_normalised(name) for emoji in known for name in set(emoji.names[level]))
        for emoji in known:
            for name in map(_normalised, emoji.names[level]):
                icon = by_name.get(name)
                free = icon not in taken and emoji.hexcode not in found
                if icon is not None and free and shared[name] == 1:
                    found[emoji.hexcode] = icon
                    taken.add(icon)
    return found


def load_art(
    styles: Sequence[str], cache: Path | None = None, *, rendered: int = RENDERED, side: int = SIDE
) -> Art:
    """Draw every emoji of these styles; blank drawings are left out.

    Args:
        rendered: side of the drawings, in pixels.
        side: of the pictures, scaled from them.

    Raises:
        ValueError, FileNotFoundError: as `fetch_package`, where a package is missing.
    """
    known, table = load_known(cache), load_table()
    corpus = {emoji.hexcode for emoji in table}
    by_code = {emoji.hexcode: emoji for emoji in known}
    rows: list[tuple[Known, int, Tensor]] = []
    counts: dict[str, int] = {}
    for number, style in enumerate(styles):
        icons = load_icons(style, cache)
        before = len(rows)
        for code, name in sorted(find_icons(icons, known, table).items()):
            picture = torch.from_numpy(draw(icons, name, size=rendered, side=side).copy()).permute(2, 0, 1)
            if (255 - picture).max() > 255 * BLANK:
                rows.append((by_code[code], number, picture))
        counts[style] = len(rows) - before
    codes = {emoji.hexcode for emoji, _, _ in rows}
    drawn = tuple(emoji for emoji in known if emoji.hexcode in codes)
    identities = {emoji.hexcode: index for index, emoji in enumerate(drawn)}
    return Art(
        pictures=torch.stack([picture for _, _, picture in rows]),
        identity=torch.tensor([identities[emoji.hexcode] for emoji, _, _ in rows]),
        style=torch.tensor([number for _, number, _ in rows]),
        weight=batch_weights([_weight(emoji, corpus) for emoji, _, _ in rows]),
        flippable=torch.tensor([not {"left", "right"} & _parts(emoji.label) for emoji, _, _ in rows]),
        known=drawn,
        counts=counts,
    )


def load_monitor(
    style: str,
    known: Sequence[Known],
    cache: Path | None = None,
    *,
    rendered: int = RENDERED,
    side: int = SIDE,
) -> tuple[Tensor, Tensor]:
    """Return the corpus' emoji in one style, uint8 [N, 3, S, S], and their identities [N] among `known`."""
    place = {emoji.hexcode: index for index, emoji in enumerate(known)}
    icons = load_icons(style, cache)
    drawn = [emoji for emoji in load_table() if style in emoji.icons and emoji.hexcode in place]
    pictures = [draw(icons, emoji.icons[style], size=rendered, side=side).copy() for emoji in drawn]
    stacked = torch.stack([torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures])
    return stacked, torch.tensor([place[emoji.hexcode] for emoji in drawn])


def batch_weights(weights: Sequence[float]) -> Tensor:
    """Return the share of every drawing in a batch, float32 [N]: faces and people, and 0 for the rest.

    The weighted ones have FACES_SHARE together, the others the remainder in equal parts.
    """
    raw = torch.tensor(weights)
    rest = (raw == 0).float()
    if not rest.any():
        return raw / raw.sum()
    return FACES_SHARE * raw / raw.sum().clamp(min=1e-9) + (1 - FACES_SHARE) * rest / rest.sum()


def _weight(emoji: Known, corpus: set[str]) -> float:
    if emoji.hexcode in corpus:
        return CORPUS_WEIGHT
    return {SMILEYS: SMILEY_WEIGHT, PEOPLE: PEOPLE_WEIGHT}.get(emoji.group, 0.0)


def _codes(table: Mapping[str, Any], hexcode: str) -> tuple[str, ...]:
    codes = table.get(hexcode, ())
    codes = (codes,) if isinstance(codes, str) else codes
    # "+1" and "-1" would both become "1".
    return tuple(code for code in codes if code[0] not in "+-")


def _normalised(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _parts(label: str) -> set[str]:
    return set(re.split("[^a-z]+", label.lower()))
