"""Text that any file and terminal can hold: odd names, one-line reasons, lists that are cut short."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sized
from pathlib import Path

# Names that are told of a longer list before "and n more".
NAMED = 3
_ESCAPE = re.compile(r"\\(?:x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_NOT_PRINTABLE = re.compile(r"[\ud800-\udfff]|\\(?=x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")


def printable(name: str) -> str:
    r"""Return a name from the disk as UTF-8 text, other names as other texts.

    A byte that is no UTF-8 (a surrogate from U+DC80 in Python's own spelling) becomes `\xNN`. To be told
    from it, a backslash that begins such a sequence in the name itself becomes `\x5c`; every other name stays
    as it is. `unprintable` is the way back.
    """
    return _NOT_PRINTABLE.sub(lambda found: _escape(found[0]), name)


def unprintable(text: str) -> str:
    """Return the name on the disk that `printable` made `text` of."""
    return _ESCAPE.sub(lambda found: _unescape(found[0]), text)


def clean_text(text: object) -> str | None:
    """Return a sticker's own text, None where there is none; lone surrogates become question marks."""
    return None if text is None else valid_utf8(str(text)) or None


def valid_utf8(text: str) -> str:
    """Return the text with question marks for lone surrogates, which neither UTF-8 nor Parquet can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: object, limit: int | None = None) -> str:
    """Return a text on one line, white space folded, cut at `limit` characters; of an error its words."""
    words = " ".join(str(text).split())
    if not words and isinstance(text, BaseException):
        words = type(text).__name__
    return words if limit is None or len(words) <= limit else f"{words[: limit - 1]}…"


def escape_markdown(text: object) -> str:
    """Return a text on one line that is no markup in Markdown: it ends no table cell and begins no tag."""
    return _MARKUP.sub(r"\\\1", one_line(text))


def yaml_line(key: str, value: object) -> str:
    """Return one line of YAML that any reader reads, whatever signs a text or a list of texts is made of.

    JSON's escapes of an emoji are two halves that YAML does not join; lone surrogates become question marks.
    """
    import yaml

    plain = [valid_utf8(str(one)) for one in value] if isinstance(value, list | tuple) else value
    plain = valid_utf8(plain) if isinstance(plain, str) else plain
    # Quoted, a text stays on its line. Of a bare word YAML knows whether it may stand so ("no" may not).
    bare = not isinstance(plain, str) or re.fullmatch(r"[A-Za-z0-9_-]+", plain)
    style = None if bare else '"'
    dumped = yaml.safe_dump(
        plain, default_style=style, default_flow_style=True, allow_unicode=True, width=1e9
    )
    return f"{key}: {dumped.removesuffix('...' + chr(10)).strip()}"


def first_and_more(items: Iterable[object], count: int = NAMED, separator: str = ", ") -> str:
    """Return the first items, and how many more there are: "a, b, c and 5 more"."""
    shown: list[str] = []
    rest = 0
    for item in items:
        if len(shown) < count:
            shown.append(str(item))
        else:
            rest += 1
    return separator.join(shown) + (f" and {rest} more" if rest else "")


def plural(count: int | Sized, noun: str) -> str:
    """Return a count with its noun: "1 sticker", "2 stickers"."""
    number = count if isinstance(count, int) else len(count)
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _escape(character: str) -> str:
    code = ord(character)
    if code == 0x5C:
        return r"\x5c"
    # Names from an index file may hold surrogates that no byte of a file name became.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _unescape(escape: str) -> str:
    code = int(escape[2:], 16)
    return chr(code + 0xDC00 if escape[1] == "x" and code > 0x7F else code)


def did_you_mean(name: str, known: Iterable[str], *, listed: int = 12) -> str:
    """Return ": did you mean X or Y?" where known names are near, else what there is to choose from.

    Args:
        name: that was given and is not known.
        known: the names to choose from.
        listed: of more known names none are listed; 0 lists none at all.
    """
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=3):
        return f": did you mean {' or '.join(near)}?"
    return f": there are {', '.join(names)}" if 0 < len(names) <= listed else ""


def near(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean X or Y?)" where known names are near to one that is not, else nothing."""
    found = difflib.get_close_matches(name, list(known), n=3)
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def near_paths(path: Path) -> str:
    """Return what `near` says of a path that does not exist, from what lies beside it."""
    try:
        beside = [one.name for one in path.parent.iterdir()]
    except OSError:
        return ""
    found = difflib.get_close_matches(path.name, beside, n=3)
    return f" (did you mean {' or '.join(str(path.parent / name) for name in found)}?)" if found else ""
