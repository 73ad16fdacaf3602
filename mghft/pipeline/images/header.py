"""Headers of image files, before any pixel is decoded: format, size, mode, whether the file is whole."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import UnidentifiedImageError

from mghft.pipeline.images.color import check_size
from mghft.pipeline.images.decode import LongTextError, decode_bytes, plain_errors, without_texts
from mghft.pipeline.images.extra import require
from mghft.pipeline.images.frames import open_image
from mghft.pipeline.images.kinds import sticker_kind
from mghft.pipeline.images.lottie import read_lottie
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.images.video import read_video

# Pillow decodes icons as soon as it opens them, and their end has no mark.
_ICON = b"\0\0\1\0"


@dataclass(frozen=True)
class Header:
    """Header of an image: format and mode in Pillow's words, size in pixels before EXIF rotation.

    Lottie animations are of the format LOTTIE, videos WEBM, HEIC images HEIF.

    Attributes:
        transparent: the file can be (alpha or a transparent color); whether it is, pixels would say.
        whole: the format's own end is there; False also where the format has none.
    """

    format: str
    width: int
    height: int
    mode: str
    animated: bool
    transparent: bool
    whole: bool


def read_header(content: bytes, max_pixels: int = ImageTransform().max_pixels) -> Header:
    """Read the header of an image of a kind that `decode_bytes` reads.

    Raises:
        ImageError: no image, or over the limit of pixels.
    """
    if content.startswith(_ICON):
        icon = decode_bytes(content, ImageTransform(max_pixels=max_pixels, max_side=None))
        return Header("ICO", *icon.size, icon.mode, animated=False, transparent=True, whole=True)
    kind = sticker_kind(content)
    if kind == "lottie":
        lottie = read_lottie(content)
        check_size(*lottie.size, max_pixels)
        require("rlottie_python", "rlottie-python", "a Lottie animation (.tgs)")
        return Header("LOTTIE", *lottie.size, "RGBA", lottie.count > 1, transparent=True, whole=True)
    if kind == "video":
        video = read_video(content, max_pixels)
        mode = "RGBA" if video.transparent else "RGB"
        return Header("WEBM", *video.size, mode, animated=True, transparent=video.transparent, whole=False)
    try:
        return _read(content, max_pixels)
    except LongTextError:
        return _read(without_texts(content), max_pixels)


def _read(content: bytes, max_pixels: int) -> Header:
    with plain_errors(content, max_pixels):
        try:
            image = open_image(content)
        except UnidentifiedImageError:
            decode_bytes(content)  # Which says why, in the words of the full decoding.
            raise
        with image:
            check_size(*image.size, max_pixels)
            form = str(image.format)
            animated = bool(getattr(image, "is_animated", False)) and form != "TIFF"
            transparent, whole = image.has_transparency_data, _is_whole(content, form)
            return Header(form, *image.size, image.mode, animated, transparent, whole)


def _is_whole(content: bytes, form: str) -> bool:
    if form == "PNG":
        return content.endswith(b"\0\0\0\0IEND\xaeB`\x82")
    if form in ("JPEG", "MPO"):
        return content.rstrip(b"\0").endswith(b"\xff\xd9")
    if form == "GIF":
        return content.rstrip(b"\0").endswith(b";")
    if form == "WEBP":
        return bool(struct.unpack_from("<I", content, 4)[0] + 8 <= len(content))
    return False
