"""Pictures as eye and stand-in see them: ink on white, changed a little in place, colour and completeness."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# White is 0 for the network: the empty paper says nothing, which let small towers learn.
INK_STD = 0.35
TURN, SCALE, ASPECT, SHIFT = math.radians(25), 0.3, 0.15, 0.15
MIRROR, COLOUR, GREY, CUT_OUT = 0.5, 0.25, 0.25, 0.3


def strength(step: int, steps: int) -> float:
    """Return how strong the augmentation of a step is: from .25 up to .6 at 60 % of the run."""
    return 0.25 + 0.35 * min(1.0, step / max(1.0, 0.6 * steps))


def to_ink(pictures: Tensor) -> Tensor:
    """Return uint8 RGB [B, 3, S, S] as ink, 1 - RGB: float [B, 3, S, S]."""
    return 1 - pictures.float() / 255


def halved(ink: Tensor) -> Tensor:
    """Return means of 2 x 2 pixels: [B, 3, S/2, S/2]."""
    return F.avg_pool2d(ink, 2)


def to_input(ink: Tensor) -> Tensor:
    """Return what the network reads for ink: (RGB - 1) / .35."""
    return -ink / INK_STD


def look(ink: Tensor, side: int) -> Tensor:
    """Scale ink [B, 3, S, S] to the network's side, unchanged otherwise: [B, 3, side, side]."""
    rows = torch.eye(2, 3, device=ink.device).expand(len(ink), 2, 3)
    return _sample(ink, rows, side)


def augment(ink: Tensor, flippable: Tensor, k: float, side: int, generator: torch.Generator) -> Tensor:
    """Turn, scale, squeeze, shift, mirror, recolour, grey and cut pictures, so that an emoji stays itself.

    Args:
        ink: [B, 3, S, S].
        flippable: [B] bool, False where left and right matter.
        k: all ranges are multiplied by it.
        side: of the pictures returned.
        generator: of the CPU, so that every device draws the same.

    Returns:
        [B, 3, side, side].
    """
    count = len(ink)

    def uniform(*shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) * 2 - 1).to(ink.device)

    def chance(share: float) -> Tensor:
        return (torch.rand(count, generator=generator) < share * k).to(ink.device)

    angle, shift = uniform(count) * k * TURN, uniform(count, 2) * k * SHIFT
    scale, aspect = torch.exp(uniform(count) * k * SCALE), torch.exp(uniform(count) * k * ASPECT)
    mirror = torch.where(flippable & chance(MIRROR), -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    first = torch.stack([cos * mirror * aspect, -sin / aspect, shift[:, 0]], 1)
    second = torch.stack([sin * mirror * aspect, cos / aspect, shift[:, 1]], 1)
    moved = _sample(ink, torch.stack([first, second], 1), side)
    noise = torch.randn(count, 3, 3, generator=generator).to(ink.device)
    colour = torch.eye(3, device=ink.device) + noise * COLOUR * k
    colour = torch.where(chance(GREY).view(-1, 1, 1), 1 / 3, colour)
    inked = torch.einsum("bij,bjhw->bihw", colour, moved).clamp(0, 1)
    corner = torch.rand(count, 2, generator=generator).to(ink.device) * (side - side // 4)
    return torch.where((chance(CUT_OUT).view(-1, 1, 1) & _square(corner, side)).unsqueeze(1), 0.0, inked)


def _sample(ink: Tensor, rows: Tensor, side: int) -> Tensor:
    grid = F.affine_grid(rows, [len(ink), 3, side, side], align_corners=False)
    return F.grid_sample(ink, grid, align_corners=False)  # outside is ink 0: white paper


def _square(corner: Tensor, side: int) -> Tensor:
    """Return which pixels lie in a square of a quarter side at [B, 2] corners: bool [B, side, side]."""
    places = torch.arange(side, device=corner.device)
    inside = (places >= corner.unsqueeze(-1)) & (places < corner.unsqueeze(-1) + side // 4)
    return inside[:, 0].unsqueeze(-1) & inside[:, 1].unsqueeze(-2)
