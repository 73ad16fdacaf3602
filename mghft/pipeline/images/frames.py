"""The frames of an image that are wanted: a still picture itself, of an animation the chosen ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import AvifImagePlugin, IcoImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

from mghft.pipeline.images.animation import Animation, check_length, read_apng, read_gif
from mghft.pipeline.images.color import ImageError, check_size, fit, true_color_key
from mghft.pipeline.images.heif import open_heif
from mghft.pipeline.images.kinds import sticker_kind
from mghft.pipeline.images.lottie import read_lottie
from mghft.pipeline.images.transform import SHEET, ImageTransform
from mghft.pipeline.images.video import read_video

# Raster formats that say what they are in their first bytes. None that runs a program (EPS starts
# Ghostscript), reads other files, or takes any bytes for a picture (TGA, raw DIB).
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "PPM", "AVIF")
# Loaded here: for a format that is not, Pillow loads all it has.
_LOADED = (AvifImagePlugin, IcoImagePlugin, TiffImagePlugin, WebPImagePlugin)
_MAX_PAGES = 10_000


def open_image(content: bytes) -> Image.Image:
    """Open a raster image by its header alone, HEIC among them.

    Raises:
        ImageError: it is HEIC, and the library for that is absent.
        Exception: whatever Pillow raises on a file that is none; see `plain_errors`.
    """
    if sticker_kind(content) == "heif":
        return open_heif(content)
    if content[8:16] == b"WEBPVP8X" and content[20:21] and content[20] & 0x12 == 0x02:
        # An animation that says it has no transparency, as libwebp writes where all frames are opaque. What
        # no frame covers is transparent all the same (browsers), and black for Pillow.
        content = content[:20] + bytes([content[20] | 0x10]) + content[21:]
    return Image.open(BytesIO(content), formats=FORMATS)


def chosen_frames(content: bytes, transform: ImageTransform) -> tuple[int, Iterator[Image.Image]]:
    """Return the number of chosen frames, and those frames, loaded, one at a time."""
    limit = (
        1 if transform.frame == "first" else transform.frame + 1 if isinstance(transform.frame, int) else None
    )
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _played(read_gif(content, limit), transform)
    kind = sticker_kind(content)
    if kind == "lottie":
        lottie = read_lottie(content)
        numbers = _chosen_numbers(lottie.count, transform.frame)
        return len(numbers), lottie.play(set(numbers), transform.max_pixels)
    if kind == "video":
        video = read_video(content, transform.max_pixels)
        count = 1 if limit == 1 else video.count(limit, transform.max_pixels)
        numbers = _chosen_numbers(count, transform.frame)
        return len(numbers), video.play(set(numbers), transform.max_pixels)
    if content.startswith(b"\0\0\1\0"):
        _check_icon(content, transform.max_pixels)
    image = open_image(content)
    check_size(*image.size, transform.max_pixels)
    animated = image.format == "PNG" and getattr(image, "custom_mimetype", None) == "image/apng"
    if animated and (transform.frame != "first" or image.info.get("default_image")):
        return _played(read_apng(content, limit), transform)
    numbers = [0]
    # The further pictures of an MPO (a camera's JPEG) are previews or the other eye, no animation.
    if transform.frame != "first" and image.format in ("WEBP", "AVIF", "TIFF"):
        numbers = _chosen_numbers(_count_frames(image), transform.frame)
        if image.format != "TIFF":
            check_length(numbers[-1] + 1, image.size, transform.max_pixels)
    return len(numbers), _loaded(image, numbers, transform)


def _played(animation: Animation, transform: ImageTransform) -> tuple[int, Iterator[Image.Image]]:
    numbers = _chosen_numbers(len(animation.frames), transform.frame)
    return len(numbers), animation.play(set(numbers), transform.max_pixels)


def _chosen_numbers(count: int, frame: str | int) -> list[int]:
    """Return the numbers of the chosen frames, rising."""
    if isinstance(frame, int):
        return [min(frame, count - 1)]
    if sheet := SHEET.fullmatch(frame):
        cells = min(int(sheet[1]), count)
        return [number * count // cells for number in range(cells)]
    return [count // 2 if frame == "middle" else 0]


def _count_frames(image: Image.Image) -> int:
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1))
    # Page by page: Pillow's own count of a long chain takes quadratic time.
    for page in range(1, _MAX_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            return page
    raise ImageError(f"the TIFF has more than {_MAX_PAGES} pages")


def _loaded(image: Image.Image, numbers: list[int], transform: ImageTransform) -> Iterator[Image.Image]:
    for number in numbers:
        if image.tell() != number:
            image.seek(number)
            check_size(*image.size, transform.max_pixels)
        if image.format == "TIFF":
            # A tile may be larger than the picture that is cut from it.
            tags: Any = getattr(image, "tag_v2", {})
            check_size(tags.get(322, 1), tags.get(323, 1), transform.max_pixels)
        if transform.max_side is not None and max(image.size) > transform.max_side:
            # JPEG alone heeds this: it is decoded at the smallest of its own scales that is at least twice
            # the wanted size, for the last step to be a good one.
            width, height = fit(image.size, transform.max_side, transform.max_side)
            image.draft("RGB", (2 * width, 2 * height))
        true_color_key(image)
        image.load()
        yield image


def _check_icon(content: bytes, max_pixels: int) -> None:
    """Refuse an icon by the pictures inside: its table may lie, and Pillow decodes as soon as it opens."""
    (count,) = struct.unpack_from("<H", content, 4)
    for number in range(count):
        (offset,) = struct.unpack_from("<I", content, 6 + 16 * number + 12)
        if content[offset : offset + 8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", content, offset + 16)
        else:
            width, height = struct.unpack_from("<ii", content, offset + 4)
            # Colors and, below them, the mask.
            height = max(1, abs(height) // 2)
        check_size(abs(width), height, max_pixels)
