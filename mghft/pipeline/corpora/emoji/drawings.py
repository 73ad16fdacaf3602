"""Drawings of emoji as pixels on white paper, for those who train on the art itself."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mghft.pipeline.corpora.emoji.render import IconSet, render_png


def on_paper(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    """Lay a picture on white and scale it: uint8 RGB [side, side, 3]."""
    paper = Image.new("RGBA", picture.size, "white")
    paper.alpha_composite(picture.convert("RGBA"))
    return np.asarray(paper.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def draw(icons: IconSet, name: str, *, size: int, side: int) -> NDArray[np.uint8]:
    """Render one icon at `size` pixels and scale it to `side`: uint8 RGB [side, side, 3] on white."""
    picture = Image.open(io.BytesIO(render_png(icons.svg(name), size)))
    return on_paper(picture.convert("RGBA"), side)
