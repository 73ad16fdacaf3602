"""One image of a corpus: read inside its root, decoded within its limits, as RGB laid on a background.

Whatever is wrong with a file ends in an `ImageError` with a plain reason, never in a crash of the run.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from mghft.pipeline.images.apart import decode_apart, read_request
from mghft.pipeline.images.color import ImageError, check_size, fit, to_rgb, turned, upright
from mghft.pipeline.images.frames import FORMATS, chosen_frames
from mghft.pipeline.images.kinds import name_kind, sticker_kind
from mghft.pipeline.images.links import first_link_out
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.images.worker import Payload, is_worker
from mghft.pipeline.text import printable

__all__ = [
    "FORMATS",
    "MAX_FILE_BYTES",
    "ImageTransform",
    "decode_bytes",
    "decode_image",
    "image_sha256",
    "plain_errors",
    "read_image",
]

MAX_FILE_BYTES = 256 * 1024 * 1024
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


class LongTextError(ImageError):
    """Texts or a profile of a PNG are longer than Pillow reads."""


def without_texts(content: bytes) -> bytes:
    """Return a PNG without its texts and its profile, which change nothing of the pixels' shapes."""
    kept, place = [content[:8]], 8
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        if content[place + 4 : place + 8] not in _PNG_TEXTS:
            kept.append(content[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def read_image(root: Path, relative: str) -> bytes:
    """Read the bytes of a file below `root`.

    Raises:
        ImageError: the path leaves the root, or is no readable regular file of at most 256 MiB.
    """
    if "\0" in relative:
        raise ImageError("the path leaves the data folder: it holds a NUL character")
    if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
        raise ImageError("the path leaves the data folder")
    try:
        path = (root / relative).resolve(strict=True)
        if not path.is_relative_to(root.resolve()):
            link = printable(first_link_out(root, relative))
            raise ImageError(
                f"the path leaves the data folder through a link ({link}): "
                "copy the files themselves (cp -RL), or download them with `hf download --local-dir`"
            )
        # Before opening, which some devices take for an order.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError("the path is no regular file")
        # Should it have become one since: O_NONBLOCK does not wait for the other end of a FIFO.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
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
    except UnicodeError:
        raise ImageError("the file cannot be read: its name is no text that a file system takes") from None
    except RuntimeError:
        raise ImageError("the file cannot be read: a link leads back to itself") from None
    except OSError as error:
        # The system's words alone: the error's text holds the machine's own path.
        raise ImageError(f"the file cannot be read: {error.strerror}") from None
    if not content:
        raise ImageError("the file is empty")
    return content


def decode_bytes(content: bytes, transform: ImageTransform | None = None) -> Image.Image:
    """Decode an image to RGB.

    Memory: a JPEG is decoded at a scale near `max_side`; any other format costs its decoded size once, and a
    second time only where the result is more than half as large. Kinds of the extra `stickers` (Lottie, WebM,
    HEIC) are decoded in another process, unless this one is a worker, since a file may crash their libraries.

    Args:
        content: the bytes of the file.
        transform: background, frame and limits; None takes the defaults.

    Returns:
        A loaded RGB image in sRGB, EXIF rotation applied, transparency laid on the background.

    Raises:
        ImageError: not an image, damaged, or over the limit of pixels.
    """
    transform = transform or ImageTransform()
    if not is_worker() and sticker_kind(content) is not None:
        return decode_apart(content, transform.model_dump(mode="json"), decode_request)
    try:
        return _decode(content, transform)
    except LongTextError:
        # Pillow reads no text or profile above 1 MB, and browsers show such pictures: the pixels are sound.
        return _decode(without_texts(content), transform)


def _decode(content: bytes, transform: ImageTransform) -> Image.Image:
    with plain_errors(content, transform.max_pixels):
        count, frames = chosen_frames(content, transform)
        if count > 1:
            return _sheet(count, frames, transform)
        frame = next(frames)
        size = fit(frame.size, transform.max_side, transform.max_side)
        return upright(to_rgb(frame, transform.background, size), frame)


def decode_request(_: Path, request: str) -> Payload:
    """Decode what `decode_apart` asks for: the other process' side."""
    content, transform = read_request(request)
    image = _decode(content, ImageTransform.model_validate(transform))
    return Payload(image.size, (image.tobytes(),))


def image_sha256(root: Path, relative: str) -> str:
    """Return the SHA-256 of the bytes of an image file below `root`, in hexadecimal.

    Raises:
        ImageError: as of `read_image`.
    """
    return hashlib.sha256(read_image(root, relative)).hexdigest()


@contextmanager
def plain_errors(content: bytes, max_pixels: int) -> Iterator[None]:
    """Turn what Pillow raises over an image into an `ImageError` with a plain reason; hush its warnings."""
    _hush_pillow()
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"the image is over the limit of {max_pixels} pixels") from None
    except UnidentifiedImageError:
        kind = next((name for start, name in _SIGNATURES.items() if content.startswith(start)), None)
        if kind is None:
            raise ImageError(name_kind(content) or "the file is no image that can be read") from None
        raise ImageError(f"the image is damaged or truncated: its {kind} header cannot be read") from None
    except MemoryError:
        raise ImageError("the image does not fit into memory") from None
    except (struct.error, IndexError):
        raise ImageError("the image is damaged or truncated: it ends too early") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, struct.error, ValueError, EOFError and more on damage.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "MAX_TEXT" in reason:
            raise LongTextError(
                "the image is damaged or truncated: a text or a profile inside unpacks to more than 1 MB"
            ) from None
        raise ImageError(f"the image is damaged or truncated: {reason}") from None


def decode_image(
    root: Path,
    relative: str,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    max_pixels: int = 50_000_000,
    max_side: int | None = None,
) -> Image.Image:
    """Read and decode one image of a corpus (see `read_image` and `decode_bytes`).

    Raises:
        ImageError: with the reason.
    """
    transform = ImageTransform(background=background, max_pixels=max_pixels, max_side=max_side)
    return decode_bytes(read_image(root, relative), transform)


def _sheet(count: int, frames: Iterator[Image.Image], transform: ImageTransform) -> Image.Image:
    """Return a grid of frames, each reduced as it comes; cells that no frame fills show the background."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet: Image.Image | None = None
    wide = high = 0
    for number, frame in enumerate(frames):
        if sheet is None:
            side = transform.max_side
            size = fit(frame.size, side and side // columns, side and side // rows)
            wide, high = turned(size, frame)
            check_size(columns * wide, rows * high, transform.max_pixels)
            sheet = Image.new("RGB", (columns * wide, rows * high), transform.background)
        size = turned(fit(turned(frame.size, frame), wide, high), frame)
        cell = upright(to_rgb(frame, transform.background, size), frame)
        sheet.paste(cell, (number % columns * wide, number // columns * high))
    assert sheet is not None
    return sheet


def _hush_pillow() -> None:
    """Let no warning of Pillow's through: what it remarks on is either readable or ends in an error.

    `warnings.catch_warnings` swaps global state and would not be sound in threads, so one filter is set for
    the process, and set again where another one has been put before it.
    """
    first: Any = warnings.filters[0] if warnings.filters else None
    if not first or first[0] != "ignore" or getattr(first[3], "pattern", None) != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW)


_PILLOW = r"PIL\."
