"""Reads one image of a corpus: inside its root, within its limits, as RGB laid on a background.

Whatever is wrong with a file ends in an `ImageError` with a plain reason, never in a crash of the run.
"""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

MAX_FILE_BYTES = 256 * 1024 * 1024


class ImageError(ValueError):
    """An image that cannot be used; the message is the reason kept in the failed row."""


class ImageTransform(BaseModel):
    """What happens to an image between the file and the engine; part of a run's manifest.

    Attributes:
        background: RGB on which transparency is laid.
        frame: of an animation, "first", "middle" or a number from 0 (the last frame where there are fewer).
        max_pixels: a larger image is refused before it is decoded.
        max_side: a longer side is reduced to this, keeping the aspect; None keeps every size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    background: tuple[int, int, int] = (255, 255, 255)
    frame: Literal["first", "middle"] | int = "first"
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_side: int | None = Field(default=1024, ge=16)


def read_image(root: Path, relative: str) -> bytes:
    """The bytes of a file below `root`.

    Raises:
        ImageError: the path leaves the root, or is no readable regular file of at most 256 MiB.
    """
    if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts or "\0" in relative:
        raise ImageError("the path leaves the data folder")
    try:
        path = (root / relative).resolve(strict=True)
        if not path.is_relative_to(root.resolve()):
            raise ImageError("the path leaves the data folder through a link")
        # O_NONBLOCK: opening a FIFO that nobody writes to would otherwise wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("the path is no regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(f"the file has {status.st_size} bytes, the limit is {MAX_FILE_BYTES}")
            with os.fdopen(handle, "rb", closefd=False) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise ImageError("the file is missing") from None
    except (OSError, UnicodeError, RuntimeError) as error:
        # The system's words alone: the error's text holds the machine's own path.
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"the file cannot be read: {reason}") from None
    if not content:
        raise ImageError("the file is empty")
    return content


def decode_bytes(content: bytes, transform: ImageTransform | None = None) -> Image.Image:
    """Decodes an image to RGB.

    Args:
        content: the bytes of the file.
        transform: background, frame and limits; None takes the defaults.

    Returns:
        A loaded RGB image, EXIF rotation applied, transparency laid on the background.

    Raises:
        ImageError: not an image, damaged, or over the limit of pixels.
    """
    transform = transform or ImageTransform()
    try:
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
            if width * height > transform.max_pixels:
                raise ImageError(
                    f"the image has {width}x{height} pixels, the limit is {transform.max_pixels} pixels"
                )
            _choose_frame(image, transform.frame)
            if transform.max_side is not None and max(width, height) > transform.max_side:
                # JPEG alone heeds this: it is decoded at the smallest of its own scales that still suffices.
                shrink = transform.max_side / max(width, height)
                image.draft("RGB", (max(1, round(width * shrink)), max(1, round(height * shrink))))
            image.load()
            flat = _flatten(_upright(image), transform.background)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"the image is over the limit of {transform.max_pixels} pixels") from None
    except UnidentifiedImageError:
        raise ImageError("the file is no image that can be read") from None
    except MemoryError:
        raise ImageError("the image does not fit into memory") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, EOFError and more on damage.
        raise ImageError(f"the image is damaged or truncated: {error}") from None
    if transform.max_side is not None and max(flat.size) > transform.max_side:
        flat.thumbnail((transform.max_side, transform.max_side), Image.Resampling.BICUBIC)
    return flat


def decode_image(
    root: Path,
    relative: str,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = 50_000_000,
    max_side: int | None = None,
) -> Image.Image:
    """Reads and decodes one image of a corpus (see `read_image` and `decode_bytes`).

    Raises:
        ImageError: with the reason.
    """
    transform = ImageTransform(background=background, max_pixels=max_pixels, max_side=max_side)
    return decode_bytes(read_image(root, relative), transform)


def _choose_frame(image: Image.Image, frame: str | int) -> None:
    frames: int = getattr(image, "n_frames", 1)
    # The further pictures of an MPO (a camera's JPEG) are previews or the other eye, no animation.
    if frames < 2 or frame == "first" or image.format == "MPO":
        return
    wanted = frames // 2 if frame == "middle" else int(frame)
    image.seek(max(0, min(wanted, frames - 1)))


def _upright(image: Image.Image) -> Image.Image:
    """EXIF rotation applied; damaged EXIF data is no reason to lose a sound picture."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:
        return image


def _flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any mode to RGB; what is transparent shows the background."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_eight_bits(np.asarray(image)), "L").convert("RGB")
    if image.has_transparency_data:
        front = image.convert("RGBA")
        back = Image.new("RGBA", front.size, (*background, 255))
        back.alpha_composite(front)
        return back.convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Grey values of 16 or 32 bits or floats to 8 bits: integers by type, small floats by range 0..1."""
    scale = 1.0
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=255.0, neginf=0.0)
        scale = 255.0 if values.size and values.max() <= 1.0 else 1.0
    elif values.dtype.itemsize == 2 or (values.size and values.max() > 255):
        scale = 1 / 257
    eight_bits: np.ndarray[Any, Any] = np.clip(values * scale, 0, 255).round().astype(np.uint8)
    return eight_bits
