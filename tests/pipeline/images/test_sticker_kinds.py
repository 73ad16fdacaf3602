"""Stickers of chat services: colors, frames, transparency of Telegram's, WhatsApp's, LINE's and phones'."""

import numpy as np
import pytest
from image_bytes import encode
from PIL import Image
from sticker_files import half, heic, lottie, square, tgs, webm

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.kinds import begins_as_image, sticker_kind
from mghft.pipeline.images.transform import ImageTransform

RED, BLUE, GREEN, WHITE = (255, 0, 0), (0, 0, 255), (0, 255, 0), (255, 255, 255)
ORANGE = (255, 128, 0)


def show(content, **options):
    return decode_bytes(content, ImageTransform(**options))


def near(pixel, color, tolerance=3):
    assert np.abs(np.subtract(pixel, color)).max() <= tolerance, (pixel, color)


TWO_SQUARES = (square(RED, end=30), square(BLUE, first=31))


def test_telegram_animation_is_drawn_on_the_background() -> None:
    content = tgs(square(ORANGE))
    image = show(content, background=GREEN)
    assert image.size == (512, 512)
    near(image.getpixel((256, 256)), ORANGE)
    near(image.getpixel((140, 140)), ORANGE)
    assert image.getpixel((100, 256)) == GREEN


def test_half_transparent_colors_of_an_animation_are_not_darkened() -> None:
    """Its library multiplies colors by their alpha: half of orange on white lies between the two."""
    near(show(tgs(square(ORANGE, opacity=50))).getpixel((256, 256)), (255, 191, 128))


@pytest.mark.parametrize(
    ("frame", "color"),
    [("first", RED), (29, RED), (35, BLUE), ("middle", BLUE), (59, BLUE), (10_000, BLUE)],
)
def test_frame_of_an_animation(frame, color) -> None:
    content = tgs(square(RED, end=20), square(BLUE, first=30)) if frame == "middle" else tgs(*TWO_SQUARES)
    near(show(content, frame=frame).getpixel((256, 256)), color)


def test_sheet_of_an_animation_shows_its_frames_in_order() -> None:
    sheet = show(tgs(*TWO_SQUARES), frame="sheet:4", max_side=512)
    assert sheet.size == (512, 512)
    assert [sheet.getpixel(place) for place in ((128, 128), (384, 128))] == [RED, RED]
    near(sheet.getpixel((384, 384)), BLUE)


def test_size_with_a_fraction_is_read() -> None:
    image = show(tgs(square(ORANGE), w=512.0, h=511.5))
    assert image.size == (512, 511)
    near(image.getpixel((256, 256)), ORANGE)


def test_picture_inside_an_animation_is_drawn() -> None:
    import base64

    png = base64.b64encode(encode(Image.new("RGB", (64, 64), GREEN), "PNG")).decode()
    asset = {"id": "i", "w": 64, "h": 64, "u": "", "p": f"data:image/png;base64,{png}", "e": 1}
    layer = {**square(RED), "ty": 2, "refId": "i"}
    del layer["shapes"]
    near(show(tgs(layer, assets=[asset])).getpixel((280, 280)), GREEN)


def test_animation_that_is_not_packed_is_read_too() -> None:
    near(show(lottie(square(ORANGE))).getpixel((256, 256)), ORANGE)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_video_sticker_keeps_its_transparency(codec) -> None:
    content = webm([half(RED)] * 3 + [half(BLUE)] * 3, codec)
    image = show(content, background=GREEN)
    assert image.size == (64, 48)
    near(image.getpixel((10, 10)), RED, 6)
    near(image.getpixel((60, 10)), GREEN)


@pytest.mark.parametrize(
    ("frame", "color"), [(2, RED), (3, BLUE), ("middle", BLUE), (5, BLUE), (99, BLUE), ("first", RED)]
)
def test_frame_of_a_video(frame, color) -> None:
    content = webm([half(RED)] * 3 + [half(BLUE)] * 3)
    near(show(content, frame=frame).getpixel((10, 10)), color, 6)


def test_sheet_of_a_video() -> None:
    sheet = show(webm([half(RED)] * 3 + [half(BLUE)] * 3), frame="sheet:2")
    assert sheet.size == (128, 48)
    near(sheet.getpixel((10, 10)), RED, 6)
    near(sheet.getpixel((74, 10)), BLUE, 6)
    assert sheet.getpixel((60, 10)) == WHITE


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libsvtav1"])
def test_video_without_transparency(codec) -> None:
    content = webm([half(RED, (128, 128))] * 2, codec, "yuv420p")
    near(show(content).getpixel((10, 10)), RED, 6)
    near(show(content).getpixel((120, 10)), (0, 0, 0))


def test_heic_of_a_phone() -> None:
    image = Image.fromarray(half((0, 200, 100)))
    shown = show(heic(image), background=RED)
    near(shown.getpixel((10, 10)), (0, 200, 100))
    near(shown.getpixel((60, 10)), RED)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = show(heic(image.convert("RGB"), quality=90, exif=exif.tobytes()))
    # Turned to the right: what was left is above.
    assert turned.size == (48, 64)
    near(turned.getpixel((10, 10)), (0, 200, 100), 12)
    near(turned.getpixel((10, 60)), (0, 0, 0), 12)


def test_avif_is_read_without_the_extra() -> None:
    content = encode(Image.fromarray(half((0, 200, 100))), "AVIF", quality=100)
    assert sticker_kind(content) is None
    near(show(content).getpixel((10, 10)), (0, 200, 100), 6)
    # The same coding under the brand of any coding.
    general = content[:8] + b"mif1" + content[12:]
    assert sticker_kind(general) is None
    near(show(general).getpixel((10, 10)), (0, 200, 100), 6)


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
def test_animated_webp_and_apng_of_whatsapp_and_line(form) -> None:
    first, second = (Image.fromarray(half(color)) for color in (RED, BLUE))
    content = encode(first, form, save_all=True, append_images=[second], duration=100, lossless=True)
    assert sticker_kind(content) is None
    for frame, color in (("first", RED), (1, BLUE), ("middle", BLUE)):
        image = show(content, frame=frame, background=GREEN)
        assert (image.getpixel((10, 10)), image.getpixel((60, 10))) == (color, GREEN)


HEADERS = {
    "lottie": (tgs(*TWO_SQUARES), ("LOTTIE", 512, 512, "RGBA", True, True, True)),
    "still lottie": (tgs(square(RED), end=1), ("LOTTIE", 512, 512, "RGBA", False, True, True)),
    "webm": (webm([half(RED)] * 2), ("WEBM", 64, 48, "RGBA", True, True, False)),
    "heic": (heic(Image.fromarray(half(RED))), ("HEIF", 64, 48, "RGBA", False, True, False)),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_header(kind) -> None:
    content, (form, *rest) = HEADERS[kind]
    header = read_header(content)
    facts = (header.width, header.height, header.mode, header.animated, header.transparent, header.whole)
    assert (header.format, facts) == (form, tuple(rest))
    assert begins_as_image(content[:1024])
    with pytest.raises(ImageError, match="the limit is 3000 pixels"):
        read_header(content, max_pixels=3000)
    with pytest.raises(ImageError, match="the limit is 3000 pixels"):
        show(content, max_pixels=3000)
