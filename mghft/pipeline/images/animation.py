"""Frames of animated GIF and PNG files, put together as a browser shows them.

Pillow would do, but takes what no frame has painted for colour 0, clears to a colour instead of to nothing
where a file has no transparent one, and lets a later frame enlarge the picture. It decodes each frame here
as a file of its own; where it is drawn and how it goes is decided here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

from PIL import Image

from mghft.pipeline.images.color import ImageError, check_size, strips, to_rgba, true_colour_key

MAX_FRAMES = 100_000
# Frames are drawn one on the other: this many pictures of the largest allowed size are drawn at most, and a
# small frame counts as this many pixels for the work around it.
_MAX_DRAWN = 20
_SMALL_FRAME = 10_000
_GIF_BLOCK = re.compile(rb"[!,;]")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a file.

    Attributes:
        box: left, top, right, bottom on the canvas; may reach over its edge.
        file: makes a file of this frame alone.
        after: what happens to the box before the next frame is drawn.
        replaces: transparent pixels clear what is below instead of showing it.
    """

    box: tuple[int, int, int, int]
    file: Callable[[], bytes]
    after: Literal["keep", "clear", "restore"] = "keep"
    replaces: bool = False


@dataclass(frozen=True)
class Animation:
    """The size of the canvas, and the frames as far as they were asked for."""

    size: tuple[int, int]
    frames: Sequence[Frame]
    format: str = field(default="GIF")

    def play(self, wanted: Set[int], max_pixels: int) -> Iterator[Image.Image]:
        """Draws frame after frame; yields the picture at the wanted ones, the same object every time.

        Raises:
            ImageError: over the limit of pixels, or too long an animation to get there.
        """
        check_size(*self.size, max_pixels)
        check_length(max(wanted) + 1, self.size, max_pixels)
        first = self.frames[0]
        if wanted == {0} and first.box == (0, 0, *self.size):
            yield self._picture(first, max_pixels)
            return
        canvas = Image.new("RGBA", self.size)
        for number in range(max(wanted) + 1):
            frame = self.frames[number]
            left, top, right, bottom = frame.box
            box = (left, top, min(right, self.size[0]), min(bottom, self.size[1]))
            picture = self._picture(frame, max_pixels)
            canvas.info = {key: picture.info[key] for key in ("icc_profile", "exif") if key in picture.info}
            seen = box[0] < box[2] and box[1] < box[3]
            below = canvas.crop(box) if seen and frame.after == "restore" else None
            # In strips: compositing whole pictures would take four copies of them.
            for down, strip in strips(picture) if seen else ():
                if frame.replaces:
                    canvas.paste(to_rgba(strip), (left, top + down))
                elif top + down < self.size[1]:
                    canvas.alpha_composite(to_rgba(strip), (left, top + down))
            if number in wanted:
                yield canvas
            if below is not None:
                canvas.paste(below, box)
            elif seen and frame.after == "clear":
                canvas.paste((0, 0, 0, 0), box)

    def _picture(self, frame: Frame, max_pixels: int) -> Image.Image:
        left, top, right, bottom = frame.box
        check_size(right - left, bottom - top, max_pixels)
        with Image.open(BytesIO(frame.file()), formats=[self.format]) as picture:
            true_colour_key(picture)
            picture.load()
            return picture


def check_length(frames: int, size: tuple[int, int], max_pixels: int) -> None:
    """Refuses an animation whose wanted frame lies behind too much drawing.

    Raises:
        ImageError: as said.
    """
    if frames * max(size[0] * size[1], _SMALL_FRAME) > _MAX_DRAWN * max(max_pixels, 50_000_000):
        raise ImageError(f"the animation is too long: {frames} frames of {size[0]}x{size[1]} pixels to draw")


def read_gif(content: bytes, limit: int | None = None) -> Animation:
    """The frames of a GIF, at most `limit`.

    Raises:
        ValueError: no frame, or the file breaks off.
    """
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    start = 13 + (_palette_bytes(flags) if flags & 128 else 0)
    palette = content[13:start]
    frames: list[Frame] = []
    position, transparent, after = start, b"", 0
    while (mark := _GIF_BLOCK.search(content, position)) and mark[0] != b";" and len(frames) != limit:
        position = mark.end()
        if mark[0] == b"!":
            if content[position : position + 2] == b"\xf9\x04":
                packed, index = content[position + 2], content[position + 5]
                after = packed >> 2 & 7
                transparent = bytes([0x21, 0xF9, 4, 1, 0, 0, index, 0]) if packed & 1 else b""
            position, _ = _skip_blocks(content, position + 1)
            continue
        left, top, wide, high, local = struct.unpack_from("<HHHHB", content, position)
        data = position + 9
        position, whole = _skip_blocks(content, data + (_palette_bytes(local) if local & 128 else 0) + 1)
        if frames and not whole:
            raise ValueError(f"the GIF breaks off in frame {len(frames)}")
        if not frames:
            width, height = max(width, left + wide), max(height, top + high)
        screen = struct.pack("<6sHHBBB", b"GIF89a", wide, high, flags & 0x87, 0, 0)
        place = transparent + struct.pack("<cHHHHB", b",", 0, 0, wide, high, local)
        frames.append(
            Frame(
                (left, top, left + wide, top + high),
                _Parts(content, (screen, palette, place), ((data, position),), b";"),
                "clear" if after == 2 else "restore" if after in (3, 4) else "keep",
            )
        )
        _check_count(frames)
        transparent, after = b"", 0
    if not frames:
        raise ValueError("the GIF holds no picture")
    return Animation((width, height), frames)


def read_apng(content: bytes, limit: int | None = None) -> Animation:
    """The frames of an animated PNG, at most `limit`; a picture for programs that show no animation is none.

    Raises:
        ValueError: no frame, frames out of order, a wrong check sum, or the file breaks off.
    """
    head = common = b""
    size = (0, 0)
    frames: list[Frame] = []
    control: tuple[int, ...] | None = None
    pieces: list[tuple[int, int]] = []
    expected = 0
    for kind, start, end in _png_chunks(content):
        if kind == b"IHDR":
            head, size = content[start:end], struct.unpack_from(">II", content, start)
        elif kind in (b"PLTE", b"tRNS", b"iCCP", b"eXIf") and not (pieces or frames):
            common += _png_chunk(kind, content[start:end])
        elif kind in (b"fcTL", b"fdAT"):
            if end - start < (26 if kind == b"fcTL" else 4):
                raise ValueError("the PNG has a frame that breaks off")
            if struct.unpack_from(">I", content, start)[0] != expected:
                raise ValueError("the frames of the PNG are out of order")
            expected += 1
        if kind in (b"fcTL", b"IEND") and control is not None:
            frames.append(_png_frame(content, head, common, control, pieces, size))
            _check_count(frames)
            control, pieces = None, []
            if len(frames) == limit:
                break
        if kind == b"fcTL":
            control = struct.unpack_from(">IIIIHHBB", content, start + 4)
        elif control is not None and kind in (b"IDAT", b"fdAT"):
            pieces.append((start if kind == b"IDAT" else start + 4, end))
    if control is not None:
        frames.append(_png_frame(content, head, common, control, pieces, size))
    if not frames:
        raise ValueError("the animated PNG holds no frame")
    return Animation(size, frames, "PNG")


@dataclass(frozen=True, slots=True)
class _Parts:
    """A file put together from pieces of another when it is needed: `head`, the pieces, `tail`."""

    content: bytes
    head: tuple[bytes, ...]
    pieces: tuple[tuple[int, int], ...]
    tail: bytes
    chunk: bytes | None = None

    def __call__(self) -> bytes:
        body = b"".join(self.content[start:end] for start, end in self.pieces)
        return b"".join(self.head) + (_png_chunk(self.chunk, body) if self.chunk else body) + self.tail


def _check_count(frames: Sequence[Frame]) -> None:
    if len(frames) > MAX_FRAMES:
        raise ImageError(f"the animation has more than {MAX_FRAMES} frames")


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1


def _skip_blocks(content: bytes, position: int) -> tuple[int, bool]:
    """Behind a row of sub-blocks; False where the file ends before the row does."""
    while position < len(content):
        length = content[position]
        position += length + 1
        if not length:
            return position, True
    return len(content), False


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of every chunk's data."""
    position = 8
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
    content: bytes,
    head: bytes,
    common: bytes,
    control: tuple[int, ...],
    pieces: Sequence[tuple[int, int]],
    size: tuple[int, int],
) -> Frame:
    wide, high, left, top, _, _, after, blend = control
    if not pieces:
        raise ValueError("the PNG has a frame without a picture")
    if left + wide > size[0] or top + high > size[1]:
        raise ValueError("the PNG has a frame outside its picture")
    start = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">II", wide, high) + head[8:])
    return Frame(
        (left, top, left + wide, top + high),
        _Parts(content, (start, common), tuple(pieces), _png_chunk(b"IEND", b""), b"IDAT"),
        "clear" if after == 1 else "restore" if after == 2 else "keep",
        replaces=blend == 0,
    )
