"""Training images of the tiny LLaVA: rendered emoji as ink on white, and their augmentation."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mghft.pipeline.corpora.emoji.drawings import on_paper
from mghft.pipeline.corpora.emoji.render import load_icons, render_png
from mghft.pipeline.corpora.emoji.table import Emoji

IMAGE_SIZE = 112
# Stickers lie on white: with mean 1 the empty paper is 0 for the network, which let a small tower learn.
PIXEL_MEAN, PIXEL_STD = 1.0, 0.35


@dataclass(frozen=True)
class Drawing:
    """One emoji in one art style; `ink` is 1 - RGB on white, float [3, S, S]."""

    emoji: Emoji
    style: str
    ink: Tensor


def load_drawings(table: Sequence[Emoji], styles: Sequence[str], cache: Path | None = None) -> list[Drawing]:
    """Render the emoji in these styles the way the corpus does, then scale them for the tower."""
    drawings = []
    for style in styles:
        icons = load_icons(style, cache)
        for emoji in table:
            if style in emoji.icons:
                picture = Image.open(io.BytesIO(render_png(icons.svg(emoji.icons[style])))).convert("RGBA")
                drawings.append(Drawing(emoji, style, to_ink(picture)))
    return drawings


def to_ink(picture: Image.Image) -> Tensor:
    """Return a picture laid on white, scaled to the tower's size, as 1 - RGB; float [3, S, S]."""
    pixels = on_paper(picture, IMAGE_SIZE).astype(np.float32) / 255
    return 1 - torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def normalize(ink: Tensor) -> Tensor:
    """Return the tower's input for ink: (RGB - 1) / .35, so that white is 0."""
    return (1 - ink - PIXEL_MEAN) / PIXEL_STD


def augment(ink: Tensor, flippable: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change images mildly, so that an emoji stays what it is: place, size, turn, mirror, colour, grey.

    Args:
        ink: [B, 3, S, S].
        flippable: [B] bool, False where left and right matter.
        strength: 0 leaves the images alone, 1 is the full range.

    Returns:
        [B, 3, S, S].
    """
    count = ink.shape[0]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    angle = uniform(count) * strength * math.radians(20)
    scale = torch.exp(uniform(count) * strength * 0.25)
    shift = uniform(count, 2) * strength * 0.16
    mirror = torch.where(flippable & (torch.rand(count, generator=generator) < 0.5 * strength), -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack(
        [torch.stack([cos * mirror, -sin, shift[:, 0]], 1), torch.stack([sin * mirror, cos, shift[:, 1]], 1)],
        1,
    )
    grid = F.affine_grid(rows, list(ink.shape), align_corners=False)
    moved = F.grid_sample(ink, grid, align_corners=False)  # outside is ink 0: white paper
    colour = torch.eye(3) + torch.randn(count, 3, 3, generator=generator) * 0.25 * strength
    grey = (torch.rand(count, generator=generator) < 0.2 * strength).view(-1, 1, 1)
    colour = torch.where(grey, torch.full((3, 3), 1 / 3), colour)
    return torch.einsum("bij,bjhw->bihw", colour, moved).clamp(0, 1)
