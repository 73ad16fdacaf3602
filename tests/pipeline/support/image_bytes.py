"""Image files made byte by byte, where no program would write them."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
SMALL = (8, 8)
NO_ORIENTATION = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0"


def encode(image, format_, **options):
    stream = BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def noise(size=(64, 64), channels=3, seed=0):
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    )


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size, depth, color, rows, *extra, late=b""):
    """A PNG of raw rows (without their filter byte); `extra` chunks before the pixels, `late` after."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + late + chunk(b"IEND", b"")


def apng(size, frames, color=6, *extra, default=None, depth=8, count=None):
    """An animated PNG: frames of (box, rows, dispose, blend); `default` rows are a picture outside of it.

    `count` is the number of frames that the header tells, by default the true one.
    """
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0))
    parts = [header, *extra, chunk(b"acTL", struct.pack(">II", count or len(frames), 0))]
    if default is not None:
        parts.append(chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in default))))
    sequence = 0
    for (left, top, right, bottom), rows, dispose, blend in frames:
        place = (sequence, right - left, bottom - top, left, top, 1, 10, dispose, blend)
        parts.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", *place)))
        sequence += 1
        data = zlib.compress(b"".join(b"\0" + row for row in rows))
        if sequence == 1 and default is None:
            parts.append(chunk(b"IDAT", data))
        else:
            parts.append(chunk(b"fdAT", struct.pack(">I", sequence) + data))
            sequence += 1
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def filled(box, color):
    """Rows of one color for a box."""
    return [bytes(color) * (box[2] - box[0])] * (box[3] - box[1])


def gif(size, frames, palette=(RED, GREEN, BLUE, BLACK), background=0, end=b";"):
    """A GIF: frames of (box, index or list of indices, disposal, transparent index or None[, palette])."""
    parts = [b"GIF89a", struct.pack("<HHBBB", *size, 0x81 if palette else 0, background, 0)]
    parts.append(bytes(sum(palette, ())))
    for box, pixels, disposal, transparent, *local in frames:
        wide, high = box[2] - box[0], box[3] - box[1]
        packed = disposal << 2 | (transparent is not None)
        parts.append(b"!\xf9\x04" + struct.pack("<BHBB", packed, 10, transparent or 0, 0))
        parts.append(b"," + struct.pack("<HHHHB", box[0], box[1], wide, high, 0x81 if local else 0))
        parts.append(bytes(sum(local[0], ()) if local else ()) + b"\x02")
        data = lzw([pixels] * min(wide * high, 4096) if isinstance(pixels, int) else pixels)
        parts += [bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)]
        parts.append(b"\0")
    return b"".join(parts) + end


def lzw(pixels):
    """Codes of 3 bits for 4 colors, the table cleared before it could grow."""
    codes = []
    for number, pixel in enumerate(pixels):
        codes += [4, pixel] if number % 2 == 0 else [pixel]
    total = sum(code << 3 * i for i, code in enumerate([*codes, 5]))
    return total.to_bytes((3 * (len(codes) + 1) + 7) // 8, "little")


def tiff(tags, data=b""):
    """A TIFF of one page with tags (number: value, short or long) and pixels at offset 8."""
    tags = {273: 8, 279: len(data), **tags}
    table = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()) if value is not None
    )
    count = sum(value is not None for value in tags.values())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", count) + table + bytes(4)


def icon(content, size=(16, 16), bpp=32):
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, *size, 0, 0, 1, bpp, len(content), 22) + content


def jpeg_with_size(width, height):
    content = bytearray(encode(Image.new("RGB", SMALL), "JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def without_adobe(content):
    at = content.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", content, at + 2)
    return content[:at] + content[at + 2 + length :]


def ycck_jpeg(color):
    """A JPEG in YCCK, the way Photoshop writes it: inverted CMYK in luminance and color differences."""
    inks = Image.new("RGB", (16, 16), tuple(255 - value for value in color)).convert("YCbCr")
    planes = [band.point(lambda value: 255 - value) for band in inks.split()]
    image = Image.merge("CMYK", (*planes, Image.new("L", (16, 16), 0)))
    content = bytearray(encode(image, "JPEG", quality=95))
    content[content.index(b"Adobe") + 11] = 2
    return bytes(content)


def profile(space="RGB ", primaries="rgb", gamma=2.2):
    """A small ICC profile; `primaries` in another order than rgb give red the color of another one."""
    xyz = {"r": (0.4361, 0.2225, 0.0139), "g": (0.3851, 0.7169, 0.0971), "b": (0.1431, 0.0606, 0.7141)}

    def point(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(79),
        b"cprt": b"text\0\0\0\0x\0\0\0",
    }
    tags[b"wtpt"] = point((0.9642, 1.0, 0.8249))
    if space == "RGB ":
        for name, shown in zip("rgb", primaries, strict=True):
            tags[f"{name}XYZ".encode()] = point(xyz[shown])
            tags[f"{name}TRC".encode()] = curve
    else:
        tags[b"kTRC"] = curve
    table, data, offset = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", offset + len(data), len(value))
        data += value
    size = offset + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", space.encode(), b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data


UPRIGHT = np.zeros((20, 40, 3), np.uint8)
UPRIGHT[:10, :20], UPRIGHT[:10, 20:], UPRIGHT[10:, :20], UPRIGHT[10:, 20:] = RED, GREEN, BLUE, BLACK
CORNERS = {(2, 2): RED, (37, 2): GREEN, (2, 17): BLUE, (37, 17): BLACK}


def stored(orientation):
    """The pixels of a file that is shown as UPRIGHT, by the words of the EXIF standard (row 0, column 0)."""
    flipped = UPRIGHT[:, ::-1] if orientation in (2, 3, 6, 7) else UPRIGHT
    flipped = flipped[::-1] if orientation in (3, 4, 7, 8) else flipped
    return Image.fromarray(np.ascontiguousarray(flipped.swapaxes(0, 1) if orientation > 4 else flipped))


def turned(orientation, format_, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored(orientation), format_, exif=exif, **options)


def bmp_with_alpha():
    """Version 4 header with a mask for alpha: left transparent, right blue."""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks + bytes(52)
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + 108 + 8, 0, 0, 14 + 108)
        + head
        + bytes([0, 0, 0, 0, 255, 0, 0, 255])
    )


def interlaced_png():
    """Adam7 of one color: seven passes of 8x8 pixels."""
    passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)]
    raw = b"".join((b"\0" + bytes(RED) * wide) * high for wide, high in passes)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
