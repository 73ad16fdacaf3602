"""Pictures of every mode and color profile, brought to RGB on a background.

Works in strips, so that beside the decoded picture and the result no third full-size copy is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_STRIP_PIXELS = 1 << 20
# A profile that moves no color by more than this is sRGB under another name.
_SAME_COLOR = 2
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image that cannot be used; the message is the reason kept in the failed row."""


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by its header.

    Raises:
        ImageError: no pixel, or more than `max_pixels`.
    """
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(f"the image has {width}x{height} pixels, the limit is {max_pixels} pixels")


def to_rgb(image: Image.Image, background: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """Return a loaded picture as RGB of `size`.

    Every strip is brought to sRGB, then laid on the background, then averaged down: what hides under
    transparency never bleeds into an edge. An embedded profile that is damaged counts as none.
    """
    base = _base_mode(image)
    profile = image.info.get("icc_profile")
    to_srgb = srgb_transform(profile, base) if base and profile else None
    if image.mode == "RGB" and to_srgb is None and "transparency" not in image.info:
        flat = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        flat.info = {}
        return flat
    (width, height), scale = image.size, _gray_scale(image)
    # As `Image.resize` does with a reducing_gap of 2: whole blocks first, down to twice the size.
    across, down = max(1, int(width / size[0] / 2)), max(1, int(height / size[1] / 2))
    flat = Image.new("RGB", (-(-width // across), -(-height // down)), background)
    for top, strip in strips(image, down):
        color, alpha = _color_and_alpha(strip, scale)
        if to_srgb is not None:
            color = to_srgb.apply(color)
        elif color.mode != "RGB":
            color = color.convert("RGB")
        if across == down == 1:
            flat.paste(color, (0, top), alpha)
            continue
        if alpha is not None:
            back = Image.new("RGB", color.size, background)
            back.paste(color, mask=alpha)
            color = back
        flat.paste(color.reduce((across, down)), (0, top // down))
    if flat.size != size:
        flat = flat.resize(size, Image.Resampling.BICUBIC, box=(0, 0, width / across, height / down))
    return flat


def to_rgba(image: Image.Image) -> Image.Image:
    """Return a loaded picture as RGBA, full size, its colors as they are."""
    if not _is_deep(image):
        return image.convert("RGBA")
    color, alpha = _color_and_alpha(image, _gray_scale(image))
    color = color.convert("RGB")
    color.putalpha(255 if alpha is None else alpha)
    return color


def true_color_key(image: Image.Image) -> None:
    """Bring the transparent color of a PNG to the depth of its pixels; to be called before loading.

    Pillow brings pixels to 8 bits (gray of 16 excepted) and leaves the key at the file's own depth.
    """
    key, tile = image.info.get("transparency"), getattr(image, "tile", None)
    if image.format != "PNG" or key is None or not tile:
        return
    rawmode = tile[0].args
    if rawmode in ("L;2", "L;4") and isinstance(key, int):
        image.info["transparency"] = min(255, key * (85 if rawmode == "L;2" else 17))
    elif isinstance(key, tuple):
        image.info["transparency"] = tuple(
            value >> 8 if rawmode == "RGB;16B" else value & 255 for value in key
        )


def fit(size: tuple[int, int], wide: int | None, high: int | None) -> tuple[int, int]:
    """Return the size reduced to fit, never enlarged; None is no bound."""
    shrink = min(1.0, (wide or size[0]) / size[0], (high or size[1]) / size[1])
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def _orientation(picture: Image.Image) -> int:
    """1 to 8; damaged EXIF data is no reason to lose a sound picture."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except MemoryError:
        raise
    except Exception:
        return 1


def upright(flat: Image.Image, picture: Image.Image) -> Image.Image:
    """Return `flat` turned as the EXIF data of `picture` say."""
    turn = _TURNS.get(_orientation(picture))
    return flat if turn is None else flat.transpose(turn)


def turned(size: tuple[int, int], picture: Image.Image) -> tuple[int, int]:
    """Return `size` as it is after `upright`."""
    return size[::-1] if _orientation(picture) in (5, 6, 7, 8) else size


def srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from `profile` to sRGB for L, RGB or CMYK; None where it is sRGB or of no use."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space != _PROFILE_SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        probe = Image.fromarray(grid if mode == "RGB" else levels[None])
        moved = np.asarray(transform.apply(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
        return transform if np.abs(moved).max() > _SAME_COLOR else None
    except MemoryError:
        raise
    except Exception:
        # Little CMS and Pillow raise several kinds on a damaged profile: the picture is shown without it.
        return None


def _base_mode(image: Image.Image) -> str | None:
    """Return the colors that a profile of this picture would speak of; None: none that are known."""
    if image.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
        return "RGB"
    if image.mode in ("1", "L", "LA", "La") or _is_deep(image):
        return "L"
    return "CMYK" if image.mode == "CMYK" else None


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def strips(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """Yield top and picture of every strip; heights are multiples of `multiple`, the last one's excepted."""
    width, height = image.size
    rows = max(multiple, _STRIP_PIXELS // width // multiple * multiple)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(height, top + rows)))


def _color_and_alpha(image: Image.Image, scale: float) -> tuple[Image.Image, Image.Image | None]:
    """Colors as L, RGB or CMYK, and how opaque they are (None: wholly)."""
    if _is_deep(image):
        values = np.asarray(image)
        key = image.info.get("transparency")
        alpha = None if key is None else Image.fromarray(((values != key) * 255).astype(np.uint8))
        return Image.fromarray(_to_eight_bits(values, scale)), alpha
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    elif "transparency" in image.info and image.mode in ("1", "L"):
        image = image.convert("LA")
    elif image.has_transparency_data and image.mode != "LA":
        image = image.convert("RGBA")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    if image.mode == "RGBA":
        return image.convert("RGB"), image.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _gray_scale(image: Image.Image) -> float:
    """Factor from gray values of 16 or 32 bits or floats to 0..255.

    16 bits by their type; others by their largest value: up to 1 (floats), to 255, to 65535, or itself.
    """
    if not _is_deep(image):
        return 1.0
    if image.mode not in ("I", "F"):
        return 1 / 257
    peak = 0.0
    for _, strip in strips(image):
        values = np.asarray(strip)
        peak = max(peak, float(np.max(values, where=np.isfinite(values), initial=0)))
    if image.mode == "F" and peak <= 1:
        return 255.0
    return 1.0 if peak <= 255 else 1 / 257 if peak <= 65535 else 255 / peak


def _to_eight_bits(values: np.ndarray[Any, Any], scale: float) -> np.ndarray[Any, Any]:
    whole = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf)
    eight_bits: np.ndarray[Any, Any] = np.clip(whole * scale, 0, 255).round().astype(np.uint8)
    return eight_bits
