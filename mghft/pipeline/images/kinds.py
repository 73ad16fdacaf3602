"""What a file under a picture's name really is, told by its first bytes, and the way out of it."""

from __future__ import annotations

import os
import re
import stat
import zlib
from pathlib import Path
from typing import Literal

StickerKind = Literal["lottie", "video", "heif"]

_MARKUP = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(!doctype\s+)?(html|svg)", re.I | re.S
)
_JSON = re.compile(rb"\s*[{\[]\s*[\"\]}{\[0-9]")
_EXPORT = "export it as PNG, WebP or GIF"
_STARTS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "the file is a pointer of Git LFS, not the image: fetch it with `git lfs pull`",
    ),
    (b"\x1f\x8b", "the file is a gzip archive without an animation (.tgs) in it: unpack it"),
    (b"PK\x03\x04", "the file is a ZIP archive: unpack it"),
    (b"%PDF", "the file is a PDF: export its page as PNG"),
    (b"%!PS", "the file is PostScript, which is not read: export it as PNG"),
    (b"8BPS", "the file is a Photoshop document: export it as PNG"),
    (b"\x00\x00\x00\x0cJXL ", "the file is a JPEG XL image, which is not read: convert it to PNG"),
    (b"\xff\x0a", "the file is a JPEG XL image, which is not read: convert it to PNG"),
    (b"FWS", f"the file is a Flash animation: {_EXPORT}"),
    (b"CWS", f"the file is a Flash animation: {_EXPORT}"),
    (b"OggS", f"the file is Ogg sound or video: {_EXPORT}"),
    (b"ID3", "the file is MP3 sound, not an image"),
)
# Brands of the ISO media container, which HEIC, AVIF and MP4 share; the last two are of any coding.
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_GZIP = b"\x1f\x8b\x08"
_EBML = b"\x1aE\xdf\xa3"
# The first keys of a Lottie animation, whose order differs from program to program.
_LOTTIE_KEYS = (b'"layers"', b'"fr"', b'"op"')
_LOTTIE_LOOKED_AT = 16 << 20
_TEXT_LOOKED_AT = 200


# Enough for gzip to unpack the first signs of a text.
_START_BYTES = 1024
_PORTABLE_MAP = re.compile(rb"P[1-6][ \t\r\n]+(?:#|\d)")


def is_image_file(root: Path, relative: str) -> bool:
    """Return whether a file below a root begins as an image does that is read; only its first bytes are.

    What is no regular file, leads out of the root through a link or cannot be opened is none.
    """
    try:
        path = (root / relative).resolve(strict=True)
        if not path.is_relative_to(root.resolve()) or not stat.S_ISREG(path.stat().st_mode):
            return False
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return begins_as_image(os.read(handle, _START_BYTES))
        finally:
            os.close(handle)
    except (OSError, RuntimeError, ValueError):
        return False


def begins_as_image(start: bytes) -> bool:
    """Return whether these are the first bytes of an image of a format that is read.

    Of a bitmap, two letters would be any text that begins with BM, so its unused bytes count too.
    """
    if start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")):
        return True
    if start[:4] == b"RIFF":
        return start[8:12] == b"WEBP"
    if start[4:8] == b"ftyp":
        return start[8:12] in _AVIF or _is_heif(start)
    if start.startswith(_EBML) or _unpacks_to_object(start):
        return True
    if start[:2] == b"BM":
        return start[6:10] == bytes(4)
    if start[:4] == b"\0\0\1\0":
        return start[4:6] != bytes(2)
    return _PORTABLE_MAP.match(start) is not None


def sticker_kind(content: bytes) -> StickerKind | None:
    """Return the kind of a file that a library of the extra `stickers` reads, None for any other.

    lottie: an animation of Telegram's (.tgs, gzip of JSON) or its JSON alone; video: WebM and Matroska; heif:
    HEIC and its relatives, but AVIF, which Pillow reads.
    """
    if content.startswith(_EBML):
        return "video"
    if content[4:8] == b"ftyp":
        return "heif" if _is_heif(content) else None
    if _unpacks_to_object(content[:_START_BYTES]):
        return "lottie"
    if _JSON.match(content[:_TEXT_LOOKED_AT]):
        text = content[:_LOTTIE_LOOKED_AT]
        return "lottie" if all(key in text for key in _LOTTIE_KEYS) else None
    return None


def _is_heif(start: bytes) -> bool:
    """Return whether an ISO media file is a HEIC image: of brands for any coding the others decide."""
    if start[8:12] not in _HEIC:
        return False
    brands = start[16 : min(int.from_bytes(start[:4], "big"), 256)]
    return not any(brand in brands for brand in _AVIF)


def _unpacks_to_object(start: bytes) -> bool:
    """Return whether gzip unpacks the first bytes of a file to what begins as a JSON object does."""
    if not start.startswith(_GZIP):
        return False
    try:
        text = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, 64)
    except zlib.error:
        return False
    return text.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def name_kind(content: bytes) -> str | None:
    """Return in one clause what a file is that is no image, and what to do about it; None: unknown."""
    for start, words in _STARTS:
        if content.startswith(start):
            return words
    if content[4:8] == b"ftyp":
        if content[8:12] not in (*_AVIF, *_HEIC):
            return f"the file is an MP4 or QuickTime video: {_EXPORT}"
        return None
    if content.startswith(b"RIFF") and content[8:12] in (b"AVI ", b"WAVE"):
        return f"the file is AVI video or WAV sound: {_EXPORT}"
    if match := _MARKUP.match(content[:4096]):
        if match[2].lower() == b"svg":
            return "the file is a vector drawing (SVG), which is not read: render it as PNG"
        return "the file is a web page, mostly an error of the server it came from: download it again"
    if _JSON.match(content[:_TEXT_LOOKED_AT]):
        return (
            "the file is JSON, as Lottie animations and errors of servers are: download or export the image"
        )
    return _name_text(content[:_TEXT_LOOKED_AT])


def _name_text(start: bytes) -> str | None:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError:
        return None
    readable = sum(sign.isprintable() or sign.isspace() for sign in text)
    if len(text) >= 16 and readable == len(text):
        return "the file is text, not an image: download it again"
    return None
