"""Lottie animations as Telegram's animated stickers hold them (.tgs: gzip of JSON), drawn by rlottie.

Size and length come from the JSON, read here within limits, before the drawing library sees it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mghft.pipeline.images.animation import MAX_FRAMES
from mghft.pipeline.images.color import ImageError, check_size
from mghft.pipeline.images.extra import require

# Telegram allows 64 KiB packed, and what artists export rarely passes 2 MB unpacked.
MAX_UNPACKED_BYTES = 16 << 20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Lottie:
    """A vector animation: its JSON, width and height in pixels, number of frames.

    The number of frames is that of the format, whose end frame (`op`) is no longer shown; rlottie counts it.
    """

    text: str
    size: tuple[int, int]
    count: int

    def play(self, numbers: Set[int], max_pixels: int) -> Iterator[Image.Image]:
        """Draw the frames of these numbers, in rising order, as RGBA.

        Raises:
            ImageError: over the limit of pixels, the library is absent, or it refuses the animation.
        """
        check_size(*self.size, max_pixels)
        library = require("rlottie_python", "rlottie-python", "a Lottie animation (.tgs)")
        with library.LottieAnimation.from_data(self.text) as animation:
            if not animation.animation_p or animation.lottie_animation_get_size() != self.size:
                raise ImageError("the animation is damaged: it cannot be drawn")
            for number in sorted(numbers):
                width, height = self.size
                pixels = animation.lottie_animation_render(number, width=width, height=height)
                # Colors come multiplied by alpha: Pillow's BGRa divides.
                yield Image.frombytes("RGBA", self.size, pixels, "raw", "BGRa")


def read_lottie(content: bytes) -> Lottie:
    """Read an animation, packed by gzip or not.

    Raises:
        ImageError: it is damaged, unpacks to more than 16 MiB, is no animation, or shows other files.
    """
    text = _unpack(content) if content.startswith(_GZIP) else content
    if len(text) > MAX_UNPACKED_BYTES:
        raise ImageError(f"the animation unpacks to more than {MAX_UNPACKED_BYTES >> 20} MiB")
    try:
        decoded = text.decode("utf-8-sig")
        fields = json.loads(decoded)
    except (ValueError, RecursionError):
        raise ImageError("the animation is damaged: its JSON cannot be read") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("layers"), list):
        raise ImageError("the file is JSON without an animation: download or export the image")
    width, height = (_number(fields, name) for name in ("w", "h"))
    frames = math.ceil(_number(fields, "op") - _number(fields, "ip"))
    if frames > MAX_FRAMES:
        raise ImageError(f"the animation has more than {MAX_FRAMES} frames")
    _check_assets(fields.get("assets"))
    size = (int(width), int(height))
    if not (isinstance(fields["w"], int) and isinstance(fields["h"], int)):
        # 512.0 of some programs is a fault to rlottie.
        decoded = json.dumps(fields | {"w": size[0], "h": size[1]})
    return Lottie(decoded, size, max(1, frames))


def _unpack(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        text = unpacker.decompress(content, MAX_UNPACKED_BYTES + 1)
    except zlib.error:
        raise ImageError("the animation is damaged: gzip cannot unpack it") from None
    if not unpacker.eof and len(text) <= MAX_UNPACKED_BYTES:
        raise ImageError("the animation is truncated: its gzip data end too early")
    return text


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise ImageError(f"the animation is damaged: its field '{name}' is no number of use")
    return value


def _check_assets(assets: Any) -> None:
    """Refuse pictures that lie outside: a stranger's path may name any file of this machine."""
    for asset in assets if isinstance(assets, list) else []:
        source = asset.get("p") if isinstance(asset, dict) else None
        if source is not None and not (isinstance(source, str) and source.startswith("data:")):
            raise ImageError("the animation shows pictures of other files, which are not read: embed them")
