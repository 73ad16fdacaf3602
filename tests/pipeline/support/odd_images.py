"""Odd and hostile image files and what each gives."""

import os
import random
import socket
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from image_bytes import (
    BLACK,
    BLUE,
    CORNERS,
    GREEN,
    NO_ORIENTATION,
    RED,
    SMALL,
    WHITE,
    apng,
    bmp_with_alpha,
    chunk,
    encode,
    filled,
    gif,
    icon,
    interlaced_png,
    jpeg_with_size,
    noise,
    png,
    profile,
    tiff,
    turned,
    without_adobe,
    ycck_jpeg,
)
from PIL import Image


@dataclass(frozen=True)
class Odd:
    """A file and its decode (size, some pixels, each off by at most `by`) or its reason (a pattern)."""

    content: bytes
    reason: str | None = None
    size: tuple = SMALL
    pixels: dict = field(default_factory=dict)
    by: int = 0


def sound_files():
    """Odd files that decode."""
    plain = Image.new("RGB", SMALL, RED)
    red = {(4, 4): RED}
    rgb_rows = [bytes(RED) * 8] * 8
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 1000))
    rgb_rows = [bytes(RED) * 8] * 8
    zeros = zlib.compress(bytes(50_000_000), 9)
    files = {
        "one-pixel.png": Odd(encode(Image.new("RGB", (1, 1), RED), "PNG"), size=(1, 1), pixels={(0, 0): RED}),
        "wide.png": Odd(
            encode(Image.new("RGB", (100_000, 1), RED), "PNG"), size=(1024, 1), pixels={(9, 0): RED}
        ),
        "tall.jpg": Odd(encode(Image.new("RGB", (1, 60_000), RED), "JPEG"), size=(1, 1024), by=6),
        "interlaced.png": Odd(interlaced_png(), pixels=red),
        "gray16.png": Odd(
            png((3, 1), 16, 0, [struct.pack(">HHH", 0, 128 * 257, 65535)]),
            size=(3, 1),
            pixels={(0, 0): BLACK, (1, 0): (128, 128, 128), (2, 0): WHITE},
        ),
        "gray16-key.png": Odd(
            png((2, 1), 16, 0, [struct.pack(">HH", 1000, 1001)], chunk(b"tRNS", struct.pack(">H", 1000))),
            size=(2, 1),
            pixels={(0, 0): WHITE, (1, 0): (4, 4, 4)},
        ),
        "rgb16.png": Odd(
            png((1, 1), 16, 2, [struct.pack(">HHH", 65535, 257 * 16, 0)]),
            size=(1, 1),
            pixels={(0, 0): (255, 16, 0)},
        ),
        "rgb16-key.png": Odd(
            png(
                (2, 1),
                16,
                2,
                [struct.pack(">HHHHHH", 0x1234, 0x5678, 0x9ABC, 0, 0, 0xFFFF)],
                chunk(b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)),
            ),
            size=(2, 1),
            pixels={(0, 0): WHITE, (1, 0): BLUE},
        ),
        "gray2-key.png": Odd(
            png((4, 1), 2, 0, [b"\x1b"], chunk(b"tRNS", b"\0\x02")),
            size=(4, 1),
            pixels={(0, 0): BLACK, (1, 0): (85, 85, 85), (2, 0): WHITE, (3, 0): WHITE},
        ),
        "gray4-key.png": Odd(
            png((2, 1), 4, 0, [b"\x0f"], chunk(b"tRNS", b"\0\0")),
            size=(2, 1),
            pixels={(0, 0): WHITE, (1, 0): WHITE},
        ),
        "bits.png": Odd(png((8, 1), 1, 0, [b"\xf0"]), size=(8, 1), pixels={(0, 0): WHITE, (7, 0): BLACK}),
        "bits-key.png": Odd(
            png((8, 1), 1, 0, [b"\xf0"], chunk(b"tRNS", b"\0\0")),
            size=(8, 1),
            pixels={(0, 0): WHITE, (7, 0): WHITE},
        ),
        "gray-alpha.png": Odd(
            png((2, 1), 8, 4, [bytes([0, 0, 0, 255])]), size=(2, 1), pixels={(0, 0): WHITE, (1, 0): BLACK}
        ),
        "gray-alpha16.png": Odd(
            png((2, 1), 16, 4, [struct.pack(">HHHH", 0, 0, 0, 65535)]),
            size=(2, 1),
            pixels={(0, 0): WHITE, (1, 0): BLACK},
        ),
        "palette-alphas.png": Odd(
            png(
                (3, 1),
                8,
                3,
                [bytes([0, 1, 2])],
                chunk(b"PLTE", bytes(RED + BLUE + BLACK)),
                chunk(b"tRNS", b"\0\xff\x80"),
            ),
            size=(3, 1),
            pixels={(0, 0): WHITE, (1, 0): BLUE, (2, 0): (127, 127, 127)},
        ),
        "palette-too-short.png": Odd(
            png((2, 1), 8, 3, [bytes([0, 200])], chunk(b"PLTE", bytes(RED))),
            size=(2, 1),
            pixels={(0, 0): RED},
        ),
        "text-chunks.png": Odd(png(SMALL, 8, 2, rgb_rows, text, chunk(b"tEXt", b"a\0\xff")), pixels=red),
        "animation-of-none.png": Odd(
            png(SMALL, 8, 2, rgb_rows, chunk(b"acTL", struct.pack(">II", 0, 0))), pixels=red
        ),
        "apng-own-preview.png": Odd(
            apng(
                SMALL,
                [((0, 0, 8, 8), filled((0, 0, 8, 8), (*RED, 255)), 0, 0)],
                default=filled((0, 0, 8, 8), (*BLUE, 255)),
            ),
            pixels=red,
        ),
        "cmyk-adobe.jpg": Odd(
            encode(Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK"), "JPEG", quality=95),
            size=(16, 16),
            pixels={(8, 8): (200, 40, 40)},
            by=6,
        ),
        "cmyk-plain.jpg": Odd(
            without_adobe(encode(Image.new("CMYK", (16, 16), (55, 215, 215, 0)), "JPEG", quality=95)),
            size=(16, 16),
            pixels={(8, 8): (200, 40, 40)},
            by=6,
        ),
        "ycck.jpg": Odd(ycck_jpeg((200, 40, 40)), size=(16, 16), pixels={(8, 8): (200, 40, 40)}, by=6),
        "progressive.jpg": Odd(encode(plain, "JPEG", progressive=True), pixels=red, by=6),
        "exif-damaged.jpg": Odd(
            encode(plain, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01broken"), pixels=red, by=6
        ),
        "exif-number-9.jpg": Odd(encode(plain, "JPEG", exif=NO_ORIENTATION), pixels=red, by=6),
        "profile-swapped.png": Odd(
            encode(plain, "PNG", icc_profile=profile(primaries="grb")), pixels={(4, 4): GREEN}, by=3
        ),
        "profile-swapped.jpg": Odd(
            encode(plain, "JPEG", icc_profile=profile(primaries="grb")), pixels={(4, 4): GREEN}, by=8
        ),
        "profile-swapped.gif": Odd(gif(SMALL, [((0, 0, 8, 8), 0, 0, None)]), pixels=red),
        "profile-gray.png": Odd(
            encode(Image.new("L", SMALL, 128), "PNG", icc_profile=profile("GRAY", gamma=1.0)),
            pixels={(4, 4): (188, 188, 188)},
            by=2,
        ),
        "profile-damaged.png": Odd(encode(plain, "PNG", icc_profile=b"no profile at all"), pixels=red),
        "profile-cut.jpg": Odd(
            encode(plain, "JPEG", icc_profile=profile(primaries="grb")[:200]), pixels=red, by=6
        ),
        "profile-of-gray-on-color.png": Odd(encode(plain, "PNG", icc_profile=profile("GRAY")), pixels=red),
        "profile-not-zipped.png": Odd(
            png(SMALL, 8, 2, rgb_rows, chunk(b"iCCP", b"x\0\0not zlib")), pixels=red
        ),
        "float.tiff": Odd(
            encode(Image.fromarray(np.array([[0.0, 1.0, np.nan, np.inf]], np.float32)), "TIFF"),
            size=(4, 1),
            pixels={(0, 0): BLACK, (1, 0): WHITE, (2, 0): BLACK, (3, 0): WHITE},
        ),
        "float-large.tiff": Odd(
            encode(Image.fromarray(np.array([[0.0, 1e9]], np.float32)), "TIFF"),
            size=(2, 1),
            pixels={(0, 0): BLACK, (1, 0): WHITE},
        ),
        "int32.tiff": Odd(
            encode(Image.fromarray(np.array([[-5, 0, 10**9, 2 * 10**9]], np.int32)), "TIFF"),
            size=(4, 1),
            pixels={(0, 0): BLACK, (2, 0): (128, 128, 128), (3, 0): WHITE},
        ),
        "int16-big-endian.tiff": Odd(
            b"MM\0*\0\0\0\x0c"
            + struct.pack(">HH", 0, 65535)
            + struct.pack(">H", 7)
            + b"".join(
                struct.pack(">HHIHH", tag, 3, 1, value, 0)
                for tag, value in ((256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (279, 4))
            )
            + bytes(4),
            size=(2, 1),
            pixels={(0, 0): BLACK, (1, 0): WHITE},
        ),
        "lzw.tiff": Odd(encode(plain, "TIFF", compression="tiff_lzw"), pixels=red),
        "pages.tiff": Odd(
            encode(plain, "TIFF", save_all=True, append_images=[Image.new("RGB", (4, 4), BLUE)]), pixels=red
        ),
        "lab.tiff": Odd(
            encode(Image.new("LAB", SMALL, (255, 128, 128)), "TIFF"), pixels={(4, 4): WHITE}, by=3
        ),
        "two-eyes.mpo": Odd(
            encode(plain, "MPO", save_all=True, append_images=[Image.new("RGB", SMALL, BLUE)]),
            pixels=red,
            by=6,
        ),
        "alpha.bmp": Odd(bmp_with_alpha(), size=(2, 1), pixels={(0, 0): WHITE, (1, 0): BLUE}),
        "icon.ico": Odd(encode(plain, "ICO", sizes=[SMALL]), pixels=red),
        "icon-lies.ico": Odd(icon(encode(plain, "PNG"), (32, 32)), pixels=red),
        "colors.ppm": Odd(encode(plain, "PPM"), pixels=red),
        "words.ppm": Odd(b"P3 1 1 255 255 0 0\n", size=(1, 1), pixels={(0, 0): RED}),
        "gif.jpg": Odd(encode(plain, "GIF"), pixels=red),
        "webp.gif": Odd(encode(plain, "WEBP", lossless=True), pixels=red),
        "still.avif": Odd(encode(plain, "AVIF", quality=95), pixels=red, by=8),
        # Texts and profiles of more than 1 MB: browsers show the picture, and so are the pixels used.
        "bomb-profile.png": Odd(png(SMALL, 8, 2, rgb_rows, chunk(b"iCCP", b"x\0\0" + zeros)), pixels=red),
        "bomb-ztxt.png": Odd(png(SMALL, 8, 2, rgb_rows, chunk(b"zTXt", b"x\0\0" + zeros)), pixels=red),
        "bomb-itxt.png": Odd(
            png(SMALL, 8, 2, rgb_rows, chunk(b"iTXt", b"x\0\x01\0\0\0" + zeros)), pixels=red
        ),
        "bomb-ztxt-late.png": Odd(
            png(SMALL, 8, 2, rgb_rows, late=chunk(b"zTXt", b"x\0\0" + zeros)), pixels=red
        ),
        "bomb-of-texts.png": Odd(
            png(SMALL, 8, 2, rgb_rows, chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(1_000_000), 9)) * 100),
            pixels=red,
        ),
        "no-end.gif": Odd(gif(SMALL, [((0, 0, 8, 8), 0, 0, None)], end=b""), pixels=red),
        "partial.gif": Odd(gif(SMALL, [((4, 4, 8, 8), 2, 0, None)]), pixels={(0, 0): WHITE, (6, 6): BLUE}),
        "screen-too-small.gif": Odd(gif((2, 2), [((0, 0, 8, 8), 0, 0, None)]), pixels=red),
        "later-frame-is-a-bomb.gif": Odd(
            gif(SMALL, [((0, 0, 8, 8), 0, 0, None), ((0, 0, 60_000, 60_000), 2, 0, None)]), pixels=red
        ),
        "name with  spaces.png": Odd(encode(plain, "PNG"), pixels=red),
        "😀 ü.png": Odd(encode(plain, "PNG"), pixels=red),
        "two\nlines.png": Odd(encode(plain, "PNG"), pixels=red),
        "-rf.png": Odd(encode(plain, "PNG"), pixels=red),
        'quote",comma.png': Odd(encode(plain, "PNG"), pixels=red),
    }
    for orientation in range(1, 9):
        for format_, suffix, options in (
            ("PNG", "png", {}),
            ("TIFF", "tiff", {}),
            ("WEBP", "webp", {"lossless": True}),
        ):
            content = turned(orientation, format_, **options)
            files[f"turned-{orientation}.{suffix}"] = Odd(content, size=(40, 20), pixels=CORNERS)
        content = turned(orientation, "JPEG", quality=95)
        files[f"turned-{orientation}.jpg"] = Odd(content, size=(40, 20), pixels=CORNERS, by=12)
    return files


def hopeless_files():
    """Files that cannot be used, each with its reason."""
    damaged, limit, unknown = "damaged or truncated", "limit is", "no image that can be read"
    zeros = zlib.compress(bytes(50_000_000), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0))
    huge = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    bmp = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
    webp = struct.pack("<4sI8sI", b"RIFF", 22, b"WEBPVP8X", 10) + bytes(4) + b"\xff\x3f\0\xff\x3f\0"
    tile = {322: 30_000, 323: 30_000, 324: 8, 325: len(zeros), 273: None, 279: None}
    sound = encode(noise(), "PNG")
    wrong_sum = bytearray(sound)
    wrong_sum[sound.index(b"IDAT") + 40] ^= 1
    bits32 = struct.pack("<IiiHHIIiiII", 40, 12_000, 24_000, 1, 32, 0, 0, 0, 0, 0, 0)
    files = {
        "empty.png": Odd(b"", "the file is empty"),
        "text.jpg": Odd(b"this is no picture\n", "the file is text"),
        "page.png": Odd(b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        "drawing.png": Odd(
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', r"vector drawing \(SVG\)"
        ),
        "script.eps": Odd(eps, "PostScript"),
        "script.png": Odd(b"\xc5\xd0\xd3\xc6" + bytes(28) + b"%!PS-Adobe-3.0 EPSF-3.0\n", unknown),
        "layers.psd": Odd(
            b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(100), "Photoshop"
        ),
        "no-signature.tga": Odd(encode(noise(), "TGA"), unknown),
        "no-signature.dib": Odd(encode(noise(), "DIB"), unknown),
        "wavelet.jp2": Odd(encode(noise(), "JPEG2000"), unknown),
        "zeros.png": Odd(bytes(5000), unknown),
        "random.webp": Odd(random.Random(0).randbytes(5000), unknown),
        "signature-only.png": Odd(b"\x89PNG\r\n\x1a\n", damaged),
        "signature-only.gif": Odd(b"GIF89a", damaged),
        "signature-only.jpg": Odd(b"\xff\xd8\xff", damaged),
        "wrong-sum.png": Odd(bytes(wrong_sum), damaged),
        "wrong-sum-header.png": Odd(sound[:29] + b"abcd" + sound[33:], damaged),
        "no-width.png": Odd(png((0, 8), 8, 2, [b""] * 8), r"no pixels|damaged"),
        "no-size.gif": Odd(gif((0, 0), [((0, 0, 0, 0), 0, 0, None)]), "no pixels"),
        "no-frame.gif": Odd(gif(SMALL, []), damaged),
        "no-data.png": Odd(png(SMALL, 8, 2, []), damaged),
        "bomb-30000.png": Odd(huge, r"limit"),
        "bomb-12000.png": Odd(png((12_000, 12_000), 1, 0, [bytes(1500)] * 12_000), limit),
        "bomb.jpg": Odd(jpeg_with_size(30_000, 30_000), "limit"),
        "bomb-between.jpg": Odd(jpeg_with_size(12_000, 12_000), limit),
        "bomb.gif": Odd(gif((60_000, 60_000), [((0, 0, 8, 8), 0, 0, None)]), limit),
        "bomb-frame.gif": Odd(gif(SMALL, [((0, 0, 9_000, 9_000), 0, 2, None)]), limit),
        "bomb.bmp": Odd(b"BM" + bmp, "limit"),
        "bomb.ppm": Odd(b"P6 30000 30000 255\n", "limit"),
        "bomb.webp": Odd(webp, "limit"),
        "bomb.tiff": Odd(tiff({256: 30_000, 257: 30_000, 258: 8, 259: 1, 262: 1, 277: 1}), "limit"),
        "bomb-tile.tiff": Odd(tiff({256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, **tile}, zeros), limit),
        "bomb-inside.ico": Odd(icon(huge), limit),
        "bomb-inside-dib.ico": Odd(icon(bits32), limit),
        "bad-offset.tiff": Odd(b"II*\0\xff\xff\xff\x7f", damaged),
        "bad-lzw.tiff": Odd(tiff({256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 277: 1}, b"\xff" * 40), damaged),
        "loop-of-pages.tiff": Odd(b"II*\0\x08\0\0\0\0\0\x08\0\0\0", damaged),
        "icon-empty.ico": Odd(struct.pack("<HHH", 0, 1, 0), damaged + "|" + unknown),
        "icon-beyond-the-end.ico": Odd(icon(b"")[:22], damaged),
    }
    formats = {
        "PNG": "png",
        "JPEG": "jpg",
        "GIF": "gif",
        "WEBP": "webp",
        "BMP": "bmp",
        "TIFF": "tiff",
        "PPM": "ppm",
        "AVIF": "avif",
        "ICO": "ico",
    }
    for format_, suffix in formats.items():
        content = encode(noise(), format_)
        files[f"truncated.{suffix}"] = Odd(content[: len(content) // 2], f"{damaged}|{unknown}")
    return files


def odd_files():
    """Every file by its name."""
    return {**sound_files(), **hopeless_files()}


def write_files(root):
    """The files into `root` / "files"; returns path: expectation."""
    folder = root / "files"
    folder.mkdir(parents=True)
    files = odd_files()
    for name, odd in files.items():
        (folder / name).write_bytes(odd.content)
    return {f"files/{name}": odd for name, odd in files.items()}


def write_odd_paths(root):
    """Paths that are no plain file inside the root; returns path: expectation. `root` must have a parent."""
    content = encode(Image.new("RGB", SMALL, RED), "PNG")
    (root / "real.png").write_bytes(content)
    (root.parent / "secret.png").write_bytes(content)
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "inside.png").symlink_to("real.png")
    (root / "loop.png").symlink_to("loop.png")
    (root / "nowhere.png").symlink_to("gone.png")
    (root / "folder.png").mkdir()
    (root / "device.png").symlink_to("/dev/zero")
    os.mkfifo(root / "fifo.png")
    here = Path.cwd()
    try:
        # The path of a socket may have about 100 bytes only.
        os.chdir(root)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.png")
    finally:
        os.chdir(here)
    leaves = "leaves the data folder"
    return {
        "inside.png": Odd(content, pixels={(4, 4): RED}),
        "./real.png": Odd(content, pixels={(4, 4): RED}),
        "out.png": Odd(b"", f"{leaves} through a link"),
        "device.png": Odd(b"", f"{leaves} through a link"),
        "loop.png": Odd(b"", "a link leads back to itself|Too many levels"),
        "nowhere.png": Odd(b"", "the file is missing"),
        "gone.png": Odd(b"", "the file is missing"),
        "folder.png": Odd(b"", "no regular file"),
        "fifo.png": Odd(b"", "no regular file"),
        "socket.png": Odd(b"", "no regular file"),
        "real.png/below.png": Odd(b"", "cannot be read: Not a directory"),
        "a" * 5000 + ".png": Odd(b"", "cannot be read: File name too long"),
        "../secret.png": Odd(b"", leaves),
        "files/../../secret.png": Odd(b"", leaves),
        str(root / "real.png"): Odd(b"", leaves),
        "real.png\0.txt": Odd(b"", f"{leaves}: it holds a NUL"),
    }
