"""What an image file says of itself before any pixel is decoded: format, size, mode, whether it is whole."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from mghft.pipeline.images.color import ImageError, check_size
from mghft.pipeline.images.decode import FORMATS, ImageTransform, decode_bytes

# Pillow decodes these as soon as it opens them, or a file of theirs has no mark at its end.
_OPENED_IS_DECODED = (b"\0\0\1\0",)


@dataclass(frozen=True)
class Header:
    """Format and mode in Pillow's words, size in pixels before EXIF rotation; `whole`: the end is there.

    `transparent`: the file can be (alpha or a transparent colour); whether it is, pixels would say.
    """

    format: str
    width: int
    height: int
    mode: str
    animated: bool
    transparent: bool
    whole: bool


def read_header(content: bytes, max_pixels: int = ImageTransform().max_pixels) -> Header:
    """The header of an image of a kind that `decode_bytes` reads.

    Raises:
        ImageError: no image, or over the limit of pixels.
    """
    if content.startswith(_OPENED_IS_DECODED):
        image = decode_bytes(content, ImageTransform(max_pixels=max_pixels, max_side=None))
        return Header("ICO", *image.size, image.mode, animated=False, transparent=True, whole=True)
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            form = str(image.format)
            animated = bool(getattr(image, "is_animated", False)) and form != "TIFF"
            return Header(
                form,
                *image.size,
                image.mode,
                animated,
                image.has_transparency_data,
                _is_whole(content, form),
            )
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"the image is over the limit of {max_pixels} pixels") from None
    except UnidentifiedImageError:
        # The words of the full decoding, so that both ways say the same.
        decode_bytes(content)
        raise ImageError("the file is no image that can be read") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"the image is damaged or truncated: {reason}") from None


def _is_whole(content: bytes, form: str) -> bool:
    """Whether the format's own last bytes are at the end; False also where the format has none."""
    if form == "PNG":
        return content.endswith(b"\0\0\0\0IEND\xaeB`\x82")
    if form in ("JPEG", "MPO"):
        return content.rstrip(b"\0").endswith(b"\xff\xd9")
    if form == "GIF":
        return content.rstrip(b"\0").endswith(b";")
    if form == "WEBP":
        return bool(struct.unpack_from("<I", content, 4)[0] + 8 <= len(content))
    return False
