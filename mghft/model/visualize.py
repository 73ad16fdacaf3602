"""Pictures of heat and selected patches on a sticker; what is drawn comes from `explain`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from mghft.model.explanation import Explanation

# Anchors of cividis (Nuñez et al., 2018) from yellow to blue: even steps to the colour-blind too.
SCALE = np.array([(254, 232, 56), (188, 175, 111), (124, 123, 120), (65, 77, 107), (0, 34, 78)], dtype=float)
PANEL = 224
GAP = 10
CAPTION = 34


def colours(heat: ArrayLike) -> NDArray[np.float64]:
    """Map numbers from 0 to 1 to RGB of the colour scale, floats from 0 to 255 in one more dimension."""
    places = np.clip(heat, 0.0, 1.0) * (len(SCALE) - 1)
    return np.stack([np.interp(places, range(len(SCALE)), SCALE[:, band]) for band in range(3)], axis=-1)


def overlay(
    image: Image.Image,
    heat: Tensor | None = None,
    selected: Iterable[int] = (),
    grid: tuple[int, int] | None = None,
    opacity: float = 0.75,
) -> Image.Image:
    """Lay heat over a sticker and outline selected patches.

    Every patch is one flat rectangle, for the model knows nothing finer. Heat is divided by its maximum; the
    more of it, the bluer and the less transparent. A patch of no heat stays as it is.

    Args:
        image: exactly what the model saw, at any size: cropped as it was, or the patches lie elsewhere.
            Transparency is laid on white.
        heat: [rows, columns], not negative.
        selected: numbers of patches to outline, counted row by row; white in black, to be seen on anything.
        grid: rows and columns that `selected` counts in; those of `heat` if it is given.
        opacity: of the hottest patch.

    Raises:
        ValueError: for negative heat, for patches without a grid and for patches outside it.
    """
    picture = _on_white(image)
    if heat is not None:
        values = heat.detach().float().cpu().numpy()
        if (values < 0).any():
            raise ValueError("heat has negative values: shift it so that 0 means nothing")
        grid = (int(values.shape[0]), int(values.shape[1]))
        values = values / values.max() if values.max() > 0 else values
        rows = np.arange(picture.height) * grid[0] // picture.height
        columns = np.arange(picture.width) * grid[1] // picture.width
        spread = values[rows[:, None], columns[None, :]]
        share = spread[..., None] * opacity
        mixed = np.asarray(picture, dtype=float) * (1 - share) + colours(spread) * share
        picture = Image.fromarray(np.rint(mixed).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for number in selected:
        if grid is None:
            raise ValueError("patches are to be outlined but their grid is not known: pass grid or heat")
        row, column = divmod(int(number), grid[1])
        if not 0 <= row < grid[0]:
            raise ValueError(f"patch {number} is not in a grid of {grid[0]} by {grid[1]}")
        box = (
            -(-column * picture.width // grid[1]),
            -(-row * picture.height // grid[0]),
            -(-(column + 1) * picture.width // grid[1]) - 1,
            -(-(row + 1) * picture.height // grid[0]) - 1,
        )
        pen.rectangle(box, outline="black")
        if min(box[2] - box[0], box[3] - box[1]) > 4:
            pen.rectangle((box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1), outline="white")
    return picture


def overview(image: Image.Image, explanation: Explanation, sample: int = 0) -> Image.Image:
    """Draw an explanation as one picture: re-attention's scores and selection, and the fusion's attention.

    Upper row: the sticker and each stage's scores, above their minimum, with the selected patches outlined.
    Lower row: the colour scale and the fusion block's attention to each stage's local tokens, relative to
    the stage's maximum, with the stage's share of all attention in the caption. Heat lies on a pale grey
    copy of the sticker, so that every colour means heat.

    Args:
        image: exactly what the model saw, at any size.
        explanation: of a batch.
        sample: its place in the batch.
    """
    stages = list(explanation.selected)
    columns, height = 1 + len(stages), PANEL + CAPTION
    sheet = Image.new("RGB", (columns * (PANEL + GAP) - GAP, 2 * height), "white")
    sticker = _on_white(image).resize((PANEL, PANEL))
    pale = sticker.convert("L").point(lambda grey: 140 + grey * 115 // 255).convert("RGB")
    _place(sheet, sticker, 0, 0, "sticker")
    _place(sheet, _scale(), 0, 1, "heat: least (top) to most (bottom)")
    for column, stage in enumerate(stages, start=1):
        scores = explanation.score_map(stage)[sample]
        selected = sorted(set(explanation.selected[stage][sample].flatten().tolist()))
        rows, patches = explanation.grids[stage]
        title = f"stage {stage + 1}, {rows} x {patches}: re-attention\n{len(selected)} patches selected"
        _place(sheet, overlay(pale, scores - scores.min(), selected), column, 0, title)
        attention = explanation.attention_map(stage)[sample]
        title = f"stage {stage + 1}:\n{float(attention.sum()):.0%} of fusion attention"
        _place(sheet, overlay(pale, attention), column, 1, title)
    return sheet


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _scale() -> Image.Image:
    ramp = overlay(Image.new("RGB", (PANEL // 4, PANEL), "white"), torch.linspace(0, 1, PANEL).view(-1, 1))
    panel = Image.new("RGB", (PANEL, PANEL), "white")
    panel.paste(ramp, (PANEL * 3 // 8, 0))
    return panel


def _place(sheet: Image.Image, panel: Image.Image, column: int, row: int, caption: str) -> None:
    left, top = column * (PANEL + GAP), row * (PANEL + CAPTION)
    ImageDraw.Draw(sheet).text((left + 4, top + 3), caption, fill="black")
    sheet.paste(panel, (left, top + CAPTION))
