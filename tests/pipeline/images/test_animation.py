"""Animations: frames are those that a browser shows, whatever Pillow says of them; sheets of frames."""

import struct
import zlib

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
    profile,
)
from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.transform import ImageTransform

ALL, LEFT, CORNER = (0, 0, 8, 8), (0, 0, 4, 8), (6, 6, 8, 8)
YELLOW = (255, 255, 0)
FRAMES = [RED, GREEN, BLUE, YELLOW, BLACK]


def animation(format_, colors=FRAMES):
    first, *rest = (Image.new("RGB", (16, 16), color) for color in colors)
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


# Content, frame, and pixels as Chromium shows them; Pillow 13 by itself gives others, or fails, in each case.
UNLIKE_PILLOW = {
    "GIF: what no frame has painted": (gif(SMALL, [(CORNER, 2, 0, None)]), 0, {(1, 1): WHITE, (7, 7): BLUE}),
    "GIF: cleared, no transparent color": (
        gif(SMALL, [(ALL, 0, 1, None), (LEFT, 1, 2, None), (CORNER, 2, 1, None)]),
        2,
        {(1, 1): WHITE, (5, 1): RED, (7, 7): BLUE},
    ),
    "GIF: first frame taken back": (
        gif(SMALL, [(ALL, 0, 3, None), (CORNER, 2, 1, None)]),
        1,
        {(1, 1): WHITE, (7, 7): BLUE},
    ),
    "GIF: no disposal after one that clears": (
        gif(SMALL, [(ALL, 0, 1, None), (LEFT, 1, 2, None), (CORNER, 2, 0, None), ((0, 0, 1, 1), 3, 1, None)]),
        3,
        {(1, 1): WHITE, (7, 7): BLUE},
    ),
    "GIF: a disposal that nobody knows": (
        gif(SMALL, [(ALL, 0, 1, None), (LEFT, 1, 5, None), (CORNER, 2, 1, None)]),
        2,
        {(1, 1): GREEN, (7, 7): BLUE},
    ),
    "GIF: frame over the edge": (
        gif(SMALL, [(ALL, 0, 1, None), ((4, 4, 12, 12), 2, 3, None), ((20, 20, 24, 24), 1, 2, None)]),
        1,
        {(7, 7): BLUE},
    ),
    "GIF: frame beside the canvas": (
        gif(SMALL, [(ALL, 0, 1, None), ((4, 4, 12, 12), 2, 3, None), ((20, 20, 24, 24), 1, 2, None)]),
        2,
        {(7, 7): RED},
    ),
    "GIF: palette of a later frame alone": (
        gif(SMALL, [(ALL, 0, 1, None), (LEFT, 2, 1, None, (RED, GREEN, BLUE, BLACK))], palette=()),
        1,
        {(1, 1): BLUE, (5, 1): BLACK},
    ),
    "PNG: half-transparent over opaque": (
        apng(SMALL, [(ALL, filled(ALL, (*RED, 255)), 0, 0), (LEFT, filled(LEFT, (*BLUE, 128)), 0, 1)]),
        1,
        {(1, 1): (127, 0, 128), (5, 1): RED},
    ),
    "PNG: cleared, no alpha": (
        apng(SMALL, [(ALL, filled(ALL, RED), 1, 0), (LEFT, filled(LEFT, GREEN), 0, 0)], 2),
        1,
        {(1, 1): GREEN, (6, 1): WHITE},
    ),
    "PNG: hidden picture below the first frame": (
        apng(SMALL, [(LEFT, filled(LEFT, (*GREEN, 255)), 0, 0)] * 2, default=filled(ALL, (*BLUE, 255))),
        1,
        {(1, 1): GREEN, (6, 1): WHITE},
    ),
    "PNG: gray of 16 bits, blended": (
        apng(
            SMALL,
            [(ALL, filled(ALL, struct.pack(">H", 0x2000)), 0, 0), (LEFT, filled(LEFT, b"\x80\0"), 0, 1)],
            0,
            depth=16,
        ),
        1,
        {(1, 1): (128, 128, 128), (6, 1): (32, 32, 32)},
    ),
    "PNG: fewer frames than it says": (
        apng(SMALL, [(ALL, filled(ALL, (*color, 255)), 0, 0) for color in (RED, GREEN)], count=9),
        "middle",
        {(1, 1): GREEN},
    ),
}


@pytest.mark.parametrize("case", UNLIKE_PILLOW)
def test_frame_is_the_one_that_a_browser_shows(case):
    content, frame, pixels = UNLIKE_PILLOW[case]
    decoded = shown(content, frame)
    assert decoded.size == SMALL
    assert {place: decoded.getpixel(place) for place in pixels} == pixels


def test_gif_frames_are_drawn_over_each_other():
    content = gif(SMALL, [(ALL, 0, 1, None), ((0, 0, 4, 8), 1, 1, None), ((0, 0, 8, 4), [2, 3] * 16, 1, 3)])
    assert shown(content, 1).getpixel((1, 1)) == GREEN
    assert shown(content, 1).getpixel((6, 6)) == RED
    assert [shown(content, 2).getpixel((x, 1)) for x in (0, 1, 4, 5)] == [BLUE, GREEN, BLUE, RED]


def test_gif_frame_that_is_taken_back_leaves_what_was_there():
    content = gif(SMALL, [(ALL, 0, 1, None), ((0, 0, 4, 8), 1, 3, None), ((6, 6, 8, 8), 2, 1, None)])
    last = shown(content, 2)
    assert [last.getpixel(place) for place in ((1, 1), (5, 1), (7, 7))] == [RED, RED, BLUE]


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
    for (after, blend, color), (second, third) in cases.items():
        frames = [(ALL, filled(ALL, (*RED, 255)), 0, 0), (left, filled(left, color), after, blend)]
        frames.append(((6, 6, 8, 8), filled((6, 6, 8, 8), opaque), 0, 0))
        content = apng(SMALL, frames)
        assert shown(content, 1).getpixel((1, 1)) == second
        assert shown(content, 2).getpixel((1, 1)) == third
        assert shown(content, 2).getpixel((7, 7)) == GREEN
        assert shown(content, 2).getpixel((6, 1)) == RED


def test_picture_for_programs_without_animation_is_no_frame():
    frames = [(ALL, filled(ALL, (*color, 255)), 0, 0) for color in (RED, GREEN)]
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
    first, *rest = (Image.new("RGB", (300, 200), color) for color in FRAMES)
    content = encode(first, "PNG", save_all=True, append_images=rest)
    assert decode_bytes(content, ImageTransform(frame="sheet:4", max_side=100)).size == (100, 66)


def test_whole_sheet_keeps_to_max_pixels():
    one = 16 * 16
    assert decode_bytes(animation("GIF"), ImageTransform(max_pixels=4 * one, frame="sheet:4"))
    with pytest.raises(ImageError, match="32x32 pixels, the limit is 1023"):
        decode_bytes(animation("GIF"), ImageTransform(max_pixels=4 * one - 1, frame="sheet:4"))
