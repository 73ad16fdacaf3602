"""Headers of images: what they tell without decoding, and whether a file is whole."""

from __future__ import annotations

import pytest
from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.header import read_header


@pytest.fixture
def noise():
    return Image.effect_noise((64, 48), 90).convert("RGB")


def saved(image, path, **options):
    image.save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_header_tells_format_size_and_that_the_file_is_whole(noise, tmp_path, form):
    header = read_header(saved(noise, tmp_path / "a", format=form))
    assert (header.format, header.width, header.height, header.whole) == (form, 64, 48, True)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF"])
def test_header_tells_that_the_end_of_the_file_is_missing(noise, tmp_path, form):
    assert not read_header(saved(noise, tmp_path / "a", format=form)[:-20]).whole


def test_header_tells_animation_and_transparency(tmp_path):
    frames = [Image.new("RGBA", (8, 8), (40 * n, 0, 0, 128)) for n in range(3)]
    moving = read_header(saved(frames[0], tmp_path / "a.png", save_all=True, append_images=frames[1:]))
    assert (moving.animated, moving.transparent, moving.mode) == (True, True, "RGBA")
    still = read_header(saved(Image.new("RGB", (8, 8)), tmp_path / "b.png"))
    assert (still.animated, still.transparent, still.mode) == (False, False, "RGB")


def test_header_of_a_bomb_or_of_no_image_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="the file is no image that can be read"):
        read_header(b"no picture")
    with pytest.raises(ImageError, match="the limit is 100 pixels"):
        read_header(saved(Image.new("1", (90, 90)), tmp_path / "a.png"), max_pixels=100)
