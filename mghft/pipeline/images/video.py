"""Video stickers: WebM and Matroska files of VP8, VP9 and AV1, with transparency, decoded by PyAV (FFmpeg).

The container's name is given, so that no demuxer that reads other files or addresses is ever chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from mghft.pipeline.images.animation import check_length
from mghft.pipeline.images.color import ImageError, check_size
from mghft.pipeline.images.extra import require

# Codecs that are read, each with its decoder, and with the one that knows the second stream in which WebM
# keeps alpha.
_DECODERS = {
    "vp8": ("vp8", "libvpx"),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libdav1d"),
}
_SEGMENT = b"\x18S\x80g"


@dataclass(frozen=True)
class Video:
    """The bytes of a video, width and height in pixels, whether it has transparency."""

    content: bytes
    size: tuple[int, int]
    transparent: bool

    def count(self, limit: int | None, max_pixels: int) -> int:
        """Count the frames, at most `limit`; each is decoded, since containers do not tell.

        Raises:
            ImageError: there is none, the video is damaged, or too long to be played.
        """
        number = 0
        for number, _ in enumerate(_frames(self.content, max_pixels), start=1):
            if number == limit:
                break
        if not number:
            raise ImageError("the video holds no picture")
        return number

    def play(self, numbers: Set[int], max_pixels: int) -> Iterator[Image.Image]:
        """Decode up to the last of these numbers and yield their frames, RGBA or RGB.

        Raises:
            ImageError: over the limit of pixels, damaged, or too long a way to get there.
        """
        last = max(numbers)
        found = False
        for number, frame in enumerate(_frames(self.content, max_pixels)):
            if number in numbers:
                found = True
                form = "rgba" if "yuva" in frame.format.name else "rgb24"
                yield Image.fromarray(frame.to_ndarray(format=form))
            if number == last:
                return
        if not found:
            raise ImageError("the video holds no picture")


def read_video(content: bytes, max_pixels: int) -> Video:
    """Read the header of a video.

    Raises:
        ImageError: the library is absent, there is no picture track of a codec that is read, the file breaks
            off, or it is over the limit of pixels.
    """
    with _opened(content, max_pixels) as (_, stream):
        size = (stream.codec_context.width, stream.codec_context.height)
        return Video(content, size, _has_alpha(stream))


def _frames(content: bytes, max_pixels: int) -> Iterator[Any]:
    """Yield decoded frames; stops with an error once too much would have to be drawn."""
    av = require("av", "av", "a WebM or Matroska video")
    with _opened(content, max_pixels) as (container, stream):
        plain, with_alpha = _DECODERS[stream.codec_context.codec.canonical_name]
        decoder = av.CodecContext.create(with_alpha if _has_alpha(stream) else plain, "r")
        decoder.extradata = stream.codec_context.extradata
        decoder.thread_count = 1
        # Pictures inside may be larger than the header says.
        decoder.options = {"max_pixels": str(max_pixels)}
        number = 0
        for packet in container.demux(stream):
            for frame in decoder.decode(packet):
                check_size(frame.width, frame.height, max_pixels)
                number += 1
                check_length(number, (frame.width, frame.height), max_pixels)
                yield frame


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """Open a video; yield its container and its picture track, whose size is within the limit."""
    av = require("av", "av", "a WebM or Matroska video")
    _check_end(content)
    try:
        with av.open(BytesIO(content), format="matroska", metadata_errors="replace") as container:
            if not container.streams.video:
                raise ImageError("the file is sound without a picture")
            stream = container.streams.video[0]
            name = None if stream.codec_context is None else stream.codec_context.codec.canonical_name
            if name not in _DECODERS:
                coded = "in an unknown way" if name is None else f"as {name}"
                raise ImageError(
                    f"the video is coded {coded}, which is not read: export it as PNG, WebP or GIF"
                )
            check_size(stream.codec_context.width, stream.codec_context.height, max_pixels)
            yield container, stream
    except av.FFmpegError as error:
        raise ImageError(f"the video is damaged or truncated: {error.strerror}") from None


def _has_alpha(stream: Any) -> bool:
    return str(stream.metadata.get("alpha_mode", "0")) == "1"


def _check_end(content: bytes) -> None:
    """Refuse a file that is shorter than its segment says; FFmpeg would show the frames that are there."""
    place = content.find(_SEGMENT, 0, 1024)
    if place < 0 or len(content) <= place + 4:
        raise ImageError("the video is damaged or truncated: it has no segment")
    first = content[place + 4]
    length = 9 - first.bit_length()
    if length > 8:
        raise ImageError("the video is damaged or truncated: its segment has no length")
    size = int.from_bytes(content[place + 4 : place + 4 + length], "big") & (1 << 7 * length) - 1
    # All ones: a stream whose length was not known when it was written.
    if size != (1 << 7 * length) - 1 and place + 4 + length + size > len(content):
        raise ImageError("the video is truncated: the file ends before its segment does")
