"""Disturbances of decoded pictures, each a declared level of one kind."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from mghft.train.data.image_cache import StickerImages

Change = Callable[[Image.Image], Image.Image]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class PictureLevel:
    """One disturbance.

    Attributes:
        level: how strong, for the table.
        change: of a decoded RGB picture, which keeps its size.
    """

    kind: str
    level: str
    change: Change


def blur(share: float) -> Change:
    """Return Gaussian blur whose deviation is a share of the shorter side."""
    return lambda image: image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def jpeg(quality: int) -> Change:
    """Return a save as JPEG with this quality (Pillow's, 1 to 95, colours at half resolution)."""

    def change(image: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")

    return change


def rotate(degrees: int) -> Change:
    """Return a turn to the left about the middle; corners that become free are white."""
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=WHITE)


def turn_hue(degrees: int) -> Change:
    """Return a turn of every hue on the colour circle; gray, white and black stay."""

    def change(image: Image.Image) -> Image.Image:
        hue, saturation, value = image.convert("HSV").split()
        turned = (np.asarray(hue, dtype=np.int64) + round(degrees / 360 * 256)) % 256
        return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert(
            "RGB"
        )

    return change


def gray(image: Image.Image) -> Image.Image:
    """Return the picture without colour (ITU-R 601 luma)."""
    return image.convert("L").convert("RGB")


# One moderate and one strong level of each kind; chosen beforehand, not by what came out.
PICTURE_LEVELS = (
    PictureLevel("blur", "1 % of the side", blur(0.01)),
    PictureLevel("blur", "3 % of the side", blur(0.03)),
    PictureLevel("JPEG", "quality 30", jpeg(30)),
    PictureLevel("JPEG", "quality 10", jpeg(10)),
    PictureLevel("rotation", "15°", rotate(15)),
    PictureLevel("rotation", "45°", rotate(45)),
    PictureLevel("colours", "hue turned by 90°", turn_hue(90)),
    PictureLevel("colours", "hue turned by 180°", turn_hue(180)),
    PictureLevel("colours", "gray", gray),
)


class DisturbedImages:
    """The images of a split, each changed after it was decoded and before it is fitted to the network."""

    def __init__(self, images: StickerImages, change: Change) -> None:
        self._images, self._change = images, change

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Image.Image:
        return self._change(self._images[index])

    def __getstate__(self) -> dict[str, Any]:
        # Reading processes are forked here; a change made of a local function could not be pickled.
        return self.__dict__


def on_background(images: StickerImages, color: tuple[int, int, int]) -> StickerImages:
    """Return the images with their transparency on another colour, decoded anew every time."""
    other = copy.copy(images)
    other.decode_on(color)
    return other


def count_transparent(images: StickerImages) -> int:
    """Count the images that look different on black: those with transparency."""
    black = on_background(images, BLACK)
    white = on_background(images, WHITE)
    return sum(
        np.asarray(white[index]).tobytes() != np.asarray(black[index]).tobytes()
        for index in range(len(images))
    )
