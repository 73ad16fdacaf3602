"""Frames of animated GIF and PNG files, put together as browsers show them; WebP and AVIF are left to Pillow.

Pillow decodes each frame here as a file of its own. Where a frame is drawn and how it goes is decided here,
since Pillow 13 does what no browser does (tests/pipeline/images/test_animation.py has a file for each):

- GIF: what no frame has painted is color 0 instead of nothing. A frame that is cleared leaves the background
  color where the file has no transparent one. A first frame that is to be taken back stays. A frame without a
  disposal of its own has that of the frame before; unknown disposals take the frame back. A frame that
  reaches over the edge enlarges the picture. A file with a palette in later frames alone cannot be read.
- PNG: half-transparent pixels of a blended frame replace what is below. A frame that is cleared leaves black
  or color 0 where the file has no alpha. The hidden default picture shows through. Gray of 16 bits cannot be
  blended. The header's number of frames is believed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL import Image

from mghft.pipeline.images.color import ImageError, check_size, strips, to_rgba, true_color_key

MAX_FRAMES = 100_000
# Frames are drawn one on the other: this many pictures of the largest allowed size are drawn at most, and a
# small frame counts as this many pixels for the work around it.
_MAX_DRAWN = 20
_SMALL_FRAME = 10_000
_GIF_BLOCK = re.compile(rb"[!,;]")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a file.

    Attributes:
        box: left, top, right, bottom on the canvas; may reach over its edge.
        head: start of a file of this frame alone.
        spans: start and end of each piece of its compressed pixels in the whole file.
        after: what happens to the box before the next frame is drawn.
        replaces: transparent pixels clear what is below instead of showing it.
    """

    box: tuple[int, int, int, int]
    head: tuple[bytes, ...]
    spans: tuple[tuple[int, int], ...]
    after: Literal["keep", "clear", "restore"] = "keep"
    replaces: bool = False


@dataclass(frozen=True)
class Animation:
    """The bytes of a file, the size of its canvas, and its frames as far as they were asked for."""

    content: bytes
    format: Literal["GIF", "PNG"]
    size: tuple[int, int]
    frames: Sequence[Frame]

    def play(self, numbers: Set[int], max_pixels: int) -> Iterator[Image.Image]:
        """Draw frame after frame; yield the canvas at the given ones, the same object every time.

        Raises:
            ImageError: over the limit of pixels, or too long an animation to get there.
        """
        check_size(*self.size, max_pixels)
        check_length(max(numbers) + 1, self.size, max_pixels)
        first = self.frames[0]
        if numbers == {0} and first.box == (0, 0, *self.size):
            yield self._decode(first, max_pixels)
            return
        canvas = Image.new("RGBA", self.size)
        for number in range(max(numbers) + 1):
            frame = self.frames[number]
            left, top, right, bottom = frame.box
            box = (left, top, min(right, self.size[0]), min(bottom, self.size[1]))
            image = self._decode(frame, max_pixels)
            canvas.info = {key: image.info[key] for key in ("icc_profile", "exif") if key in image.info}
            visible = box[0] < box[2] and box[1] < box[3]
            before = canvas.crop(box) if visible and frame.after == "restore" else None
            # In strips: compositing whole pictures would take four copies of them.
            for down, strip in strips(image) if visible else ():
                if frame.replaces:
                    canvas.paste(to_rgba(strip), (left, top + down))
                elif top + down < self.size[1]:
                    canvas.alpha_composite(to_rgba(strip), (left, top + down))
            if number in numbers:
                yield canvas
            if before is not None:
                canvas.paste(before, box)
            elif visible and frame.after == "clear":
                canvas.paste((0, 0, 0, 0), box)

    def _decode(self, frame: Frame, max_pixels: int) -> Image.Image:
        left, top, right, bottom = frame.box
        check_size(right - left, bottom - top, max_pixels)
        pixels = b"".join(self.content[start:end] for start, end in frame.spans)
        if self.format == "PNG":
            tail = _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")
        else:
            tail = pixels + b";"
        with Image.open(BytesIO(b"".join(frame.head) + tail), formats=[self.format]) as image:
            true_color_key(image)
            image.load()
            return image


def check_length(frames: int, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse an animation whose wanted frame lies behind too much drawing.

    Raises:
        ImageError: as said.
    """
    if frames * max(size[0] * size[1], _SMALL_FRAME) > _MAX_DRAWN * max(max_pixels, 50_000_000):
        raise ImageError(f"the animation is too long: {frames} frames of {size[0]}x{size[1]} pixels to draw")


def read_gif(content: bytes, limit: int | None = None) -> Animation:
    """Read where the frames of a GIF are, at most `limit`.

    Raises:
        ValueError: no frame, or the file breaks off.
    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    start = 13 + (_palette_bytes(flags) if flags & 128 else 0)
    palette = content[13:start]
    frames: list[Frame] = []
    position, transparent, disposal = start, b"", 0
    while (mark := _GIF_BLOCK.search(content, position)) and mark[0] != b";" and len(frames) != limit:
        position = mark.end()
        if mark[0] == b"!":
            if content[position : position + 2] == b"\xf9\x04":
                packed, index = content[position + 2], content[position + 5]
                disposal = packed >> 2 & 7
                transparent = bytes([0x21, 0xF9, 4, 1, 0, 0, index, 0]) if packed & 1 else b""
            position, _ = _skip_blocks(content, position + 1)
            continue
        left, top, wide, high, local = struct.unpack_from("<HHHHB", content, position)
        pixels = position + 9
        position, whole = _skip_blocks(content, pixels + (_palette_bytes(local) if local & 128 else 0) + 1)
        if frames and not whole:
            raise ValueError(f"the GIF breaks off in frame {len(frames)}")
        if not frames:
            width, height = max(width, left + wide), max(height, top + high)
        screen = struct.pack("<6sHHBBB", b"GIF89a", wide, high, flags & 0x87, 0, 0)
        place = transparent + struct.pack("<cHHHHB", b",", 0, 0, wide, high, local)
        _append(
            frames,
            Frame(
                (left, top, left + wide, top + high),
                (screen, palette, place),
                ((pixels, position),),
                # 4: "restore" in files of old encoders.
                "clear" if disposal == 2 else "restore" if disposal in (3, 4) else "keep",
            ),
        )
        transparent, disposal = b"", 0
    if not frames:
        raise ValueError("the GIF holds no picture")
    return Animation(content, "GIF", (width, height), frames)


def read_apng(content: bytes, limit: int | None = None) -> Animation:
    """Read where the frames of an animated PNG are, at most `limit`.

    A picture for programs that show no animation is none of them.

    Raises:
        ValueError: no frame, frames out of order, a wrong check sum, or the file breaks off.
    """
    header = common = b""
    size = (0, 0)
    frames: list[Frame] = []
    control: tuple[int, ...] | None = None
    spans: list[tuple[int, int]] = []
    sequence = 0
    for kind, start, end in _png_chunks(content):
        if kind == b"IHDR":
            header, size = content[start:end], struct.unpack_from(">II", content, start)
        elif kind in (b"PLTE", b"tRNS", b"iCCP", b"eXIf") and not (spans or frames):
            common += _png_chunk(kind, content[start:end])
        elif kind in (b"fcTL", b"fdAT"):
            if end - start < (26 if kind == b"fcTL" else 4):
                raise ValueError("the PNG has a frame that breaks off")
            if struct.unpack_from(">I", content, start)[0] != sequence:
                raise ValueError("the frames of the PNG are out of order")
            sequence += 1
        if kind in (b"fcTL", b"IEND") and control is not None:
            _append(frames, _png_frame(header, common, control, spans, size))
            control, spans = None, []
            if len(frames) == limit:
                break
        if kind == b"fcTL":
            control = struct.unpack_from(">IIIIHHBB", content, start + 4)
        elif control is not None and kind in (b"IDAT", b"fdAT"):
            spans.append((start if kind == b"IDAT" else start + 4, end))
    if control is not None:
        _append(frames, _png_frame(header, common, control, spans, size))
    if not frames:
        raise ValueError("the animated PNG holds no frame")
    return Animation(content, "PNG", size, frames)


def _append(frames: list[Frame], frame: Frame) -> None:
    if len(frames) == MAX_FRAMES:
        raise ImageError(f"the animation has more than {MAX_FRAMES} frames")
    frames.append(frame)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1


def _skip_blocks(content: bytes, position: int) -> tuple[int, bool]:
    """Return the place behind a row of sub-blocks; False where the file ends before the row does."""
    while position < len(content):
        length = content[position]
        position += length + 1
        if not length:
            return position, True
    return len(content), False


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk's data."""
    position = len(_PNG_SIGNATURE)
    while position < len(content):
        if position + 12 > len(content):
            raise ValueError("the PNG breaks off")
        length, kind = struct.unpack_from(">I4s", content, position)
        start = position + 8
        position = start + length + 4
        if position > len(content):
            raise ValueError("the PNG breaks off")
        if kind in (b"fcTL", b"fdAT", b"IDAT"):
            (check,) = struct.unpack_from(">I", content, start + length)
            if zlib.crc32(memoryview(content)[start - 4 : start + length]) != check:
                raise ValueError(f"the PNG has a wrong check sum in {kind.decode()}")
        yield kind, start, start + length
        if kind == b"IEND":
            return


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_frame(
    header: bytes,
    common: bytes,
    control: tuple[int, ...],
    spans: Sequence[tuple[int, int]],
    size: tuple[int, int],
) -> Frame:
    wide, high, left, top, _, _, disposal, blend = control
    if not spans:
        raise ValueError("the PNG has a frame without a picture")
    if left + wide > size[0] or top + high > size[1]:
        raise ValueError("the PNG has a frame outside its picture")
    start = _PNG_SIGNATURE + _png_chunk(b"IHDR", struct.pack(">II", wide, high) + header[8:])
    return Frame(
        (left, top, left + wide, top + high),
        (start, common),
        tuple(spans),
        "clear" if disposal == 1 else "restore" if disposal == 2 else "keep",
        replaces=blend == 0,
    )
