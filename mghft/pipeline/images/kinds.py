"""What a file under a picture's name really is, told by its first bytes, and the way out of it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

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
    (b"\x1f\x8b", f"the file is a gzip archive, as Telegram's animated stickers (.tgs) are: {_EXPORT}"),
    (b"\x1aE\xdf\xa3", f"the file is a WebM or Matroska video: {_EXPORT}"),
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
# Brands of the ISO media container, which HEIC, AVIF and MP4 share.
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_TEXT_LOOKED_AT = 200


# Longer than the longest beginning that is looked at below.
_START_BYTES = 32
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
        return start[8:12] in (b"avif", b"avis")
    if start[:2] == b"BM":
        return start[6:10] == bytes(4)
    if start[:4] == b"\0\0\1\0":
        return start[4:6] != bytes(2)
    return _PORTABLE_MAP.match(start) is not None


def name_kind(content: bytes) -> str | None:
    """Return in one clause what a file is that is no image, and what to do about it; None: unknown."""
    for start, words in _STARTS:
        if content.startswith(start):
            return words
    if content[4:8] == b"ftyp":
        if content[8:12] in _HEIC:
            return "the file is a HEIC image, which is not read: convert it to JPEG or PNG"
        if content[8:12] not in (b"avif", b"avis"):
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
