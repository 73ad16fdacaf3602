"""Text that any file and terminal can hold: odd names, texts of stickers, lists that are cut short."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")
_NOT_PRINTABLE = re.compile(r"[\ud800-\udfff]|\\(?=x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")


def printable(name: str) -> str:
    r"""A name from the disk as UTF-8 text, other names as other texts.

    A byte that is no UTF-8 (a surrogate from U+DC80 in Python's own spelling) becomes `\xNN`. To be told
    from it, a backslash that begins such a sequence in the name itself becomes `\x5c`; every other name stays
    as it is. `unprintable` is the way back.
    """
    return _NOT_PRINTABLE.sub(lambda found: _escape(found[0]), name)


def unprintable(text: str) -> str:
    """The name on the disk that `printable` made `text` of."""
    return _ESCAPE.sub(lambda found: _unescape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if code == 0x5C:
        return r"\x5c"
    # Names from an index file may hold surrogates that no byte of a file name became.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _unescape(escape: str) -> str:
    code = int(escape[2:], 16)
    return chr(code + 0xDC00 if escape[1] == "x" and code > 0x7F else code)


def clean_text(text: object) -> str | None:
    """A sticker's own text, None where there is none; lone surrogates become question marks."""
    return None if text is None else str(text).encode("utf-8", "replace").decode("utf-8") or None


def valid_utf8(text: str) -> str:
    """Without lone surrogates, which no shard can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
