"""Turns the icons of a style's npm package into transparent PNG files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resvg_py

from mghft.pipeline.corpora.emoji.packages import packages, read_json
from mghft.pipeline.corpora.emoji.table import STYLES

SIZE = 224


@dataclass(frozen=True)
class IconSet:
    """The drawings of one art style; `icons` and `aliases` are those of the package's icons.json."""

    style: str
    icons: dict[str, Any]
    aliases: dict[str, Any]
    width: float
    height: float

    def svg(self, name: str) -> str:
        """Return the SVG document of one icon."""
        icon = self.icons.get(name) or self.icons[self.aliases[name]["parent"]]
        width, height = icon.get("width", self.width), icon.get("height", self.height)
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box}">{icon["body"]}</svg>'
        )


def load_icons(style: str, cache: Path | None = None) -> IconSet:
    """Load the icons of one art style from its pinned package."""
    data = read_json(packages()[STYLES[style].package], "icons.json", cache)
    return IconSet(
        style, data["icons"], data.get("aliases", {}), data.get("width", 16), data.get("height", 16)
    )


def render_png(svg: str, size: int = SIZE) -> bytes:
    """Render a drawing as a square RGBA PNG; the same bytes every time with the same resvg.

    System fonts are left out: art drawn with text would differ between machines.
    """
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))
