"""Transparent art on white pixel by pixel, edges when reducing, animations, sheets, colour profiles."""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_bytes import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    SMALL,
    WHITE,
    apng,
    chunk,
    encode,
    filled,
    gif,
    noise,
    profile,
)
from PIL import Image, ImageCms
from pydantic import ValidationError

from mghft.pipeline.images.color import ImageError, to_rgb
from mghft.pipeline.images.decode import FORMATS, ImageTransform, decode_bytes

ROOT = Path(__file__).parents[3]
ALL = (0, 0, 8, 8)
YELLOW = (255, 255, 0)


def on_white(rgba):
    """The definition: colour times opacity, white times the rest."""
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


def test_grey_art_lies_on_white():
    grey = np.random.default_rng(1).integers(0, 256, (64, 64, 2), np.uint8)
    decoded = decode_bytes(encode(Image.fromarray(grey, "LA"), "PNG"))
    assert np.array_equal(np.asarray(decoded), on_white(grey[..., [0, 0, 0, 1]]))


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


FRAMES = [RED, GREEN, BLUE, YELLOW, BLACK]


def animation(format_, colours=FRAMES):
    first, *rest = (Image.new("RGB", (16, 16), colour) for colour in colours)
    options = {"lossless": True} if format_ == "WEBP" else {"quality": 100} if format_ == "AVIF" else {}
    if format_ == "TIFF":
        return encode(first, format_, save_all=True, append_images=rest)
    return encode(first, format_, save_all=True, append_images=rest, duration=100, **options)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize(("frame", "number"), [("first", 0), ("middle", 2), (0, 0), (3, 3), (99, 4)])
def test_frame_of_every_kind_of_animation(format_, frame, number):
    found = decode_bytes(animation(format_), ImageTransform(frame=frame)).getpixel((8, 8))
    assert np.abs(np.subtract(found, FRAMES[number])).max() <= 6


def shown(content, frame):
    return decode_bytes(content, ImageTransform(frame=frame))


def test_gif_frames_are_drawn_over_each_other():
    content = gif(SMALL, [(ALL, 0, 1, None), ((0, 0, 4, 8), 1, 1, None), ((0, 0, 8, 4), [2, 3] * 16, 1, 3)])
    assert shown(content, 1).getpixel((1, 1)) == GREEN
    assert shown(content, 1).getpixel((6, 6)) == RED
    assert [shown(content, 2).getpixel((x, 1)) for x in (0, 1, 4, 5)] == [BLUE, GREEN, BLUE, RED]


def test_gif_frame_that_is_cleared_leaves_the_background():
    content = gif(SMALL, [(ALL, 0, 1, None), ((0, 0, 4, 8), 1, 2, None), ((6, 6, 8, 8), 2, 1, None)])
    last = shown(content, 2)
    assert [last.getpixel(place) for place in ((1, 1), (5, 1), (7, 7))] == [WHITE, RED, BLUE]


def test_gif_frame_that_is_taken_back_leaves_what_was_there():
    content = gif(SMALL, [(ALL, 0, 1, None), ((0, 0, 4, 8), 1, 3, None), ((6, 6, 8, 8), 2, 1, None)])
    last = shown(content, 2)
    assert [last.getpixel(place) for place in ((1, 1), (5, 1), (7, 7))] == [RED, RED, BLUE]


def test_gif_frame_that_reaches_over_the_edge_is_cut():
    content = gif(SMALL, [(ALL, 0, 1, None), ((4, 4, 12, 12), 2, 3, None), ((20, 20, 24, 24), 1, 2, None)])
    assert (shown(content, 1).size, shown(content, 1).getpixel((7, 7))) == (SMALL, BLUE)
    assert shown(content, 2).getpixel((7, 7)) == RED


def test_gif_that_breaks_off_later_keeps_its_first_frame():
    content = animation("GIF")[:-30]
    assert shown(content, "first").getpixel((1, 1)) == RED
    with pytest.raises(ImageError, match="the GIF breaks off in frame"):
        shown(content, "middle")


def test_bomb_in_a_later_frame_is_refused_when_it_is_reached():
    content = gif(SMALL, [(ALL, 0, 0, None), ((0, 0, 60_000, 60_000), 2, 0, None)])
    with pytest.raises(ImageError, match="60000x60000 pixels, the limit is"):
        shown(content, 1)


def test_apng_frames_clear_replace_and_blend():
    opaque, half, none = (*GREEN, 255), (0, 0, 255, 128), (0, 0, 0, 0)
    left = (0, 0, 4, 8)
    cases = {
        # After, blend of the second frame; the third is drawn bottom right.
        (0, 0, none): (WHITE, WHITE),
        (0, 1, none): (RED, RED),
        (0, 1, half): ((127, 0, 128), (127, 0, 128)),
        (1, 0, opaque): (GREEN, WHITE),
        (2, 0, opaque): (GREEN, RED),
    }
    for (after, blend, colour), (second, third) in cases.items():
        frames = [(ALL, filled(ALL, (*RED, 255)), 0, 0), (left, filled(left, colour), after, blend)]
        frames.append(((6, 6, 8, 8), filled((6, 6, 8, 8), opaque), 0, 0))
        content = apng(SMALL, frames)
        assert shown(content, 1).getpixel((1, 1)) == second
        assert shown(content, 2).getpixel((1, 1)) == third
        assert shown(content, 2).getpixel((7, 7)) == GREEN
        assert shown(content, 2).getpixel((6, 1)) == RED


def test_apng_without_alpha_clears_to_the_background():
    left = (0, 0, 4, 8)
    frames = [(ALL, filled(ALL, RED), 1, 0), (left, filled(left, GREEN), 0, 0)]
    last = shown(apng(SMALL, frames, 2), 1)
    assert (last.getpixel((1, 1)), last.getpixel((6, 1))) == (GREEN, WHITE)


def test_picture_for_programs_without_animation_is_no_frame():
    frames = [(ALL, filled(ALL, (*colour, 255)), 0, 0) for colour in (RED, GREEN)]
    content = apng(SMALL, frames, default=filled(ALL, (*BLUE, 255)))
    assert [shown(content, frame).getpixel((1, 1)) for frame in (0, 1, 2)] == [RED, GREEN, GREEN]


def test_apng_keeps_profile_and_transparency_of_its_palette():
    extra = [chunk(b"iCCP", b"x\0\0" + zlib.compress(profile(primaries="grb")))]
    extra += [chunk(b"PLTE", bytes(RED + BLUE)), chunk(b"tRNS", b"\xff\0")]
    frames = [(ALL, filled(ALL, [0]), 0, 0), (ALL, filled(ALL, [0]), 0, 0), (ALL, filled(ALL, [1]), 0, 0)]
    content = apng(SMALL, frames, 3, *extra)
    assert np.abs(np.subtract(shown(content, 1).getpixel((1, 1)), GREEN)).max() <= 3
    assert shown(content, 2).getpixel((1, 1)) == WHITE


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("frame", "size", "cells"),
    [
        ("sheet:2", (32, 16), [RED, BLUE]),
        ("sheet:3", (32, 32), [RED, GREEN, YELLOW, WHITE]),
        ("sheet:4", (32, 32), [RED, GREEN, BLUE, YELLOW]),
        ("sheet:16", (48, 32), [*FRAMES, WHITE]),
    ],
)
def test_sheet_shows_frames_in_reading_order(format_, frame, size, cells):
    sheet = shown(animation(format_), frame)
    assert sheet.size == size
    columns = size[0] // 16
    found = [sheet.getpixel((i % columns * 16 + 8, i // columns * 16 + 8)) for i in range(len(cells))]
    assert np.abs(np.subtract(found, cells)).max() <= 3


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP", "MPO"])
def test_still_image_is_its_own_sheet(format_):
    assert shown(encode(Image.new("RGB", SMALL, RED), format_), "sheet:9").size == SMALL


def test_whole_sheet_keeps_to_max_side():
    first, *rest = (Image.new("RGB", (300, 200), colour) for colour in FRAMES)
    content = encode(first, "PNG", save_all=True, append_images=rest)
    assert decode_bytes(content, ImageTransform(frame="sheet:4", max_side=100)).size == (100, 66)


def test_whole_sheet_keeps_to_max_pixels():
    one = 16 * 16
    assert decode_bytes(animation("GIF"), ImageTransform(max_pixels=4 * one, frame="sheet:4"))
    with pytest.raises(ImageError, match="32x32 pixels, the limit is 1023"):
        decode_bytes(animation("GIF"), ImageTransform(max_pixels=4 * one - 1, frame="sheet:4"))


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
def test_background_that_is_no_colour(background):
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
        "import sys\nfrom mghft.pipeline.images.decode import *\n"
        "try: decode_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\\n%%BoundingBox: 0 0 9 9\\n%%EndComments\\n')\n"
        "except ImageError as error: print(error)\n"
        "print('PIL.EpsImagePlugin' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.split("\n")[:2] == ["the file is no image that can be read", "False"]
    assert not {"EPS", "PSD", "TGA", "DIB", "WMF"} & set(FORMATS)
