"""Transparent art on white pixel by pixel, edges when reducing, color profiles, names of frames."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_bytes import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    WHITE,
    encode,
    noise,
    profile,
)
from PIL import Image, ImageCms
from pydantic import ValidationError

from mghft.pipeline.images.color import to_rgb
from mghft.pipeline.images.decode import FORMATS, decode_bytes
from mghft.pipeline.images.transform import ImageTransform

ROOT = Path(__file__).parents[3]


def on_white(rgba):
    """The definition: color times opacity, white times the rest."""
    pixels = np.asarray(rgba, np.float64)
    opaque = pixels[..., 3:] / 255
    return np.round(pixels[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)


@pytest.mark.parametrize(
    ("format_", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {}), ("ICO", {"sizes": [(64, 64)]})],
)
def test_art_with_soft_edges_lies_on_white(format_, options):
    art = noise(channels=4)
    decoded = decode_bytes(encode(art, format_, **options))
    assert np.array_equal(np.asarray(decoded), on_white(art))


def test_gray_art_lies_on_white():
    gray = np.random.default_rng(1).integers(0, 256, (64, 64, 2), np.uint8)
    decoded = decode_bytes(encode(Image.fromarray(gray, "LA"), "PNG"))
    assert np.array_equal(np.asarray(decoded), on_white(gray[..., [0, 0, 0, 1]]))


def test_palette_art_lies_on_white():
    random = np.random.default_rng(2)
    indices, palette = (
        random.integers(0, 256, (64, 64), np.uint8),
        random.integers(0, 256, (256, 4), np.uint8),
    )
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette[:, :3].tobytes())
    decoded = decode_bytes(encode(image, "PNG", transparency=palette[:, 3].tobytes()))
    assert np.array_equal(np.asarray(decoded), on_white(palette[indices]))


def test_strips_join_without_a_seam():
    art = noise((2048, 1600), channels=4)  # four strips
    decoded = decode_bytes(encode(art, "PNG", compress_level=0), ImageTransform(max_side=None))
    assert np.array_equal(np.asarray(decoded), on_white(art))


@pytest.mark.parametrize("size", [(2048, 2048), (3001, 1999), (1100, 900)])
def test_reducing_is_that_of_the_flattened_picture(size):
    art = noise(size, channels=4)
    flat = Image.fromarray(on_white(art))
    decoded = decode_bytes(encode(art, "PNG", compress_level=0), ImageTransform(max_side=256))
    wanted = flat.resize(decoded.size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    assert np.abs(np.asarray(decoded, int) - np.asarray(wanted, int)).max() <= 1


@pytest.mark.parametrize("factor", [1.5, 8])
def test_no_dark_fringe_where_white_meets_transparent_black(factor):
    art = np.zeros((1024, 1024, 4), np.uint8)
    art[:, ::3] = 255
    transform = ImageTransform(max_side=int(1024 / factor))
    assert np.asarray(decode_bytes(encode(Image.fromarray(art), "PNG"), transform)).min() == 255


@pytest.mark.parametrize("size", [(3000, 2000), (2100, 1400), (1100, 733)])
def test_jpeg_decoded_small_looks_like_one_decoded_whole(size):
    soft = noise((30, 20)).resize(size, Image.Resampling.BICUBIC)
    content = encode(soft, "JPEG", quality=95)
    decoded = decode_bytes(content, ImageTransform(max_side=256))
    whole = decode_bytes(content, ImageTransform(max_side=None)).resize(
        decoded.size, Image.Resampling.LANCZOS
    )
    assert np.abs(np.asarray(decoded, int) - np.asarray(whole, int)).mean() < 1.5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK"])
def test_white_of_every_mode_is_white(mode):
    white = Image.new("RGBA", (4, 4), (*WHITE, 255))
    via = {"La": "LA", "CMYK": "RGB", "RGBX": "RGB"}.get(mode)
    image = (white.convert(via) if via else white).convert(mode)
    assert to_rgb(image, BLUE, image.size).getpixel((1, 1)) == WHITE


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I", "F", "HSV", "YCbCr", "LAB"])
def test_black_of_every_mode_is_black(mode):
    image = Image.new(mode, (4, 4), (0, 128, 128) if mode in ("YCbCr", "LAB") else 0)
    assert to_rgb(image, BLUE, image.size).getpixel((1, 1)) in (BLACK, (1, 0, 1))


@pytest.mark.parametrize(("given", "kept"), [("3", 3), (3, 3), ("first", "first"), ("sheet:16", "sheet:16")])
def test_frame_has_one_spelling(given, kept):
    assert ImageTransform(frame=given).frame == kept


@pytest.mark.parametrize(
    "frame", ["sheet:1", "sheet:17", "sheet:", "sheet:04", "last", "-1", -1, "", "1.5", True]
)
def test_frame_that_is_none_is_told_plainly(frame):
    with pytest.raises(
        ValidationError, match="must be first, middle, a number from 0, or sheet:2 to sheet:16"
    ):
        ImageTransform(frame=frame)


@pytest.mark.parametrize("background", [(0, 0, 256), (-1, 0, 0)])
def test_background_that_is_no_color(background):
    with pytest.raises(ValidationError, match="three numbers from 0 to 255"):
        ImageTransform(background=background)


def test_profile_that_is_srgb_changes_nothing():
    image = noise()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode_bytes(encode(image, "PNG", icc_profile=srgb)).tobytes() == image.tobytes()


def test_profile_speaks_of_the_art_and_not_of_the_background():
    art = Image.new("RGBA", (2, 1), (*RED, 255))
    art.putpixel((1, 0), (*RED, 0))
    content = encode(art, "PNG", icc_profile=profile(primaries="grb"))
    decoded = decode_bytes(content, ImageTransform(background=RED))
    assert np.abs(np.subtract(decoded.getpixel((0, 0)), GREEN)).max() <= 3
    assert decoded.getpixel((1, 0)) == RED


def test_postscript_is_not_even_loaded():
    code = (
        "import sys\nfrom mghft.pipeline.images.color import ImageError\n"
        "from mghft.pipeline.images.decode import decode_bytes\n"
        "try: decode_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\\n%%BoundingBox: 0 0 9 9\\n%%EndComments\\n')\n"
        "except ImageError as error: print(error)\n"
        "print('PIL.EpsImagePlugin' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.split("\n")[:2] == [
        "the file is PostScript, which is not read: export it as PNG",
        "False",
    ]
    assert not {"EPS", "PSD", "TGA", "DIB", "WMF"} & set(FORMATS)
