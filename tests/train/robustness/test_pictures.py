"""Disturbances of pictures do to the pixels what their level says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mghft.train.robustness.pictures import PICTURE_LEVELS, blur, gray, jpeg, rotate, turn_hue


def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("level", PICTURE_LEVELS, ids=lambda level: f"{level.kind} {level.level}")
def test_every_level_changes_the_pixels_and_keeps_the_size(level: object) -> None:
    changed = level.change(picture())  # type: ignore[attr-defined]
    assert changed.mode == "RGB" and changed.size == (60, 40)
    assert (np.asarray(changed) != np.asarray(picture())).any()


def test_hue_turned_by_a_third_makes_red_green_and_leaves_gray() -> None:
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    r, g, b = np.asarray(turn_hue(120)(red))[0, 0].tolist()
    assert r < 10 and g == 255 and b < 10
    middle = Image.new("RGB", (4, 4), (90, 90, 90))
    assert np.asarray(turn_hue(90)(middle)).tolist() == np.asarray(middle).tolist()


def test_gray_has_no_colour() -> None:
    changed = np.asarray(gray(picture()))
    assert (changed[..., 0] == changed[..., 1]).all() and (changed[..., 1] == changed[..., 2]).all()


def test_blur_grows_with_the_side_and_keeps_the_mean() -> None:
    pixels = np.asarray(picture(), dtype=float)
    weak, strong = (np.asarray(blur(share)(picture()), dtype=float) for share in (0.01, 0.03))
    assert pixels.std() > weak.std() > strong.std()
    assert strong.mean() == pytest.approx(pixels.mean(), abs=1)


def test_turn_goes_to_the_left_and_leaves_white_corners() -> None:
    arrow = Image.new("RGB", (41, 41), "black")
    arrow.paste((255, 0, 0), (30, 18, 41, 23))
    turned = np.asarray(rotate(90)(arrow))
    assert turned[5, 20, 0] > 200 and turned[20, 35, 0] < 50
    assert np.asarray(rotate(45)(arrow))[0, 0].tolist() == [255, 255, 255]


def test_lower_quality_is_further_from_the_picture() -> None:
    pixels = np.asarray(picture(), dtype=float)
    errors = [np.abs(np.asarray(jpeg(q)(picture()), dtype=float) - pixels).mean() for q in (90, 30, 10)]
    assert errors[0] < errors[1] < errors[2]
