"""Images in every shape that a corpus may hold, and every way in which one can be unusable."""

import os
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, decode_image, read_image
from mghft.pipeline.images.transform import ImageTransform

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image, format_, **options):
    stream = BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def near(pixel, wanted, by=6):
    return all(abs(a - b) <= by for a, b in zip(pixel, wanted, strict=True))


def png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_becomes_rgb(mode):
    image = Image.new(mode, (3, 2))
    decoded = decode_bytes(encode(image, "PNG"))
    assert (decoded.mode, decoded.size) == ("RGB", (3, 2))


def test_one_pixel():
    assert decode_bytes(encode(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED


def test_cmyk_jpeg_keeps_its_colors():
    image = Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK")
    assert near(decode_bytes(encode(image, "JPEG", quality=95)).getpixel((8, 8)), (200, 40, 40))


def test_gray_of_16_bits_is_scaled_not_clipped():
    gray = np.array([[0, 128 * 257, 65535]], np.uint16)
    decoded = decode_bytes(encode(Image.fromarray(gray), "PNG"))
    assert [decoded.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_gray_of_floats_between_0_and_1_is_scaled():
    decoded = decode_bytes(encode(Image.fromarray(np.array([[0.0, 1.0]], np.float32)), "TIFF"))
    assert [decoded.getpixel((x, 0))[0] for x in range(2)] == [0, 255]


def test_palette_with_transparency_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    decoded = decode_bytes(encode(image, "PNG", transparency=b"\x00\xff"))
    assert [decoded.getpixel((x, 0)) for x in range(2)] == [WHITE, BLUE]


def test_palette_with_one_transparent_index_lies_on_white():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    decoded = decode_bytes(encode(image, "PNG", transparency=0))
    assert [decoded.getpixel((x, 0)) for x in range(2)] == [WHITE, BLUE]


def test_color_key_of_rgb_lies_on_white():
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    decoded = decode_bytes(encode(image, "PNG", transparency=RED))
    assert [decoded.getpixel((x, 0)) for x in range(2)] == [WHITE, BLUE]


def test_gray_with_alpha_lies_on_white():
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (0, 255))
    decoded = decode_bytes(encode(image, "PNG"))
    assert [decoded.getpixel((x, 0)) for x in range(2)] == [WHITE, (0, 0, 0)]


def test_background_is_chosen():
    image = encode(Image.new("RGBA", (1, 1), (0, 0, 0, 0)), "PNG")
    assert decode_bytes(image, ImageTransform(background=GREEN)).getpixel((0, 0)) == GREEN


def test_half_transparent_is_blended():
    image = encode(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG")
    assert near(decode_bytes(image).getpixel((0, 0)), (127, 127, 127), by=1)


@pytest.mark.parametrize(("format_", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
@pytest.mark.parametrize(("frame", "color"), [("first", RED), ("middle", GREEN), (2, BLUE), (99, BLUE)])
def test_frame_of_an_animation(format_, options, frame, color):
    first, *rest = (Image.new("RGB", (20, 20), one) for one in (RED, GREEN, BLUE))
    content = encode(first, format_, save_all=True, append_images=rest, duration=100, **options)
    assert near(decode_bytes(content, ImageTransform(frame=frame)).getpixel((10, 10)), color)


def test_still_image_has_any_frame():
    assert decode_bytes(encode(Image.new("RGB", (1, 1), RED), "PNG"), ImageTransform(frame=7))


def test_preview_inside_a_camera_picture_is_no_frame():
    first, second = (Image.new("RGB", (16, 16), one) for one in (RED, BLUE))
    content = encode(first, "MPO", save_all=True, append_images=[second])
    assert near(decode_bytes(content, ImageTransform(frame="middle")).getpixel((8, 8)), RED)


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 20, 20))
    decoded = decode_bytes(encode(image, "JPEG", exif=exif, quality=95))
    assert decoded.size == (20, 40)
    assert near(decoded.getpixel((10, 5)), RED, by=12)


def test_damaged_exif_does_not_lose_the_picture():
    content = encode(
        Image.new("RGB", (8, 8), RED), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01broken"
    )
    assert decode_bytes(content).size == (8, 8)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "GIF", "WEBP"])
def test_truncated_file(format_):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    content = encode(noise, format_)
    with pytest.raises(ImageError, match=r"damaged or truncated|no image"):
        decode_bytes(content[: len(content) // 2])


def test_text_with_the_name_of_an_image(tmp_path):
    (tmp_path / "a.jpg").write_text("this is no picture")
    with pytest.raises(ImageError, match="the file is text, not an image"):
        decode_image(tmp_path, "a.jpg")


def test_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match="the file is empty"):
        decode_image(tmp_path, "a.png")


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match="the file is missing"):
        decode_image(tmp_path, "a.png")


@pytest.mark.parametrize("side", [8000, 12000, 30000])
def test_bomb_is_refused_by_its_header(side):
    with pytest.raises(ImageError, match="limit"):
        decode_bytes(png_header(side, side))


def test_limit_of_pixels_is_exact():
    content = encode(Image.new("RGB", (10, 10)), "PNG")
    assert decode_bytes(content, ImageTransform(max_pixels=100)).size == (10, 10)
    with pytest.raises(ImageError, match="10x10 pixels, the limit is 99"):
        decode_bytes(content, ImageTransform(max_pixels=99))


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 500)])
def test_large_jpeg_is_reduced(size):
    decoded = decode_bytes(encode(Image.new("RGB", size, RED), "JPEG"), ImageTransform(max_side=256))
    assert max(decoded.size) == 256
    assert decoded.width / decoded.height == pytest.approx(size[0] / size[1], rel=0.02)


def test_large_jpeg_is_decoded_small(monkeypatch):
    content = encode(Image.new("RGB", (4000, 1000), RED), "JPEG")
    sizes = []
    resize = Image.Image.resize

    def watched(image, *arguments, **options):
        sizes.append(image.size)
        return resize(image, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    decode_bytes(content, ImageTransform(max_side=500))
    assert sizes[0] == (1000, 250)


def test_small_image_is_not_enlarged():
    content = encode(Image.new("RGB", (30, 20)), "JPEG")
    assert decode_bytes(content, ImageTransform(max_side=256)).size == (30, 20)


def test_every_size_is_kept_without_max_side():
    content = encode(Image.new("RGB", (1500, 20)), "PNG")
    assert decode_bytes(content, ImageTransform(max_side=None)).size == (1500, 20)


@pytest.mark.parametrize("path", ["../a.png", "x/../../a.png", "/etc/hostname", "a\0.png"])
def test_path_that_leaves_the_root(tmp_path, path):
    with pytest.raises(ImageError, match="leaves the data folder"):
        read_image(tmp_path, path)


def test_link_out_of_the_root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    (root / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImageError, match="through a link"):
        read_image(root, "a.png")


def test_link_inside_the_root(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    (tmp_path / "b.png").symlink_to("a.png")
    assert decode_image(tmp_path, "b.png").size == (1, 1)


def test_link_to_itself(tmp_path):
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path, "a.png")


@pytest.mark.timeout(10)
def test_fifo_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match="no regular file"):
        read_image(tmp_path, "a.png")


def test_folder_is_no_image(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ImageError, match="no regular file"):
        read_image(tmp_path, "a.png")


def test_name_too_long(tmp_path):
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path, "a" * 5000 + ".png")


@pytest.mark.parametrize("name", ["image_ (0).png", "a 😀 – ü.png", "-rf.png", "%20.png"])
def test_odd_names(tmp_path, name):
    (tmp_path / name).write_bytes(encode(Image.new("RGB", (1, 1)), "PNG"))
    assert decode_image(tmp_path, name).size == (1, 1)
