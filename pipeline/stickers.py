"""What a corpus is made of: stickers, their names, and the list of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cards import Card

SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation"}
_ESCAPE = re.compile(r"\\(?:x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")
_NOT_PRINTABLE = re.compile(r"[\ud800-\udfff]|\\(?=x5c|x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Sticker:
    """One image of a corpus.

    Attributes:
        id: stable name inside the corpus, UTF-8 text; joins every file that speaks of this sticker.
        path: POSIX path of the image below the corpus root, as the file system needs it: for a table or a
            report take `printable(path)`.
        split: train, validation, test, or "all" where the corpus has no splits.
        label: index into the card's labels, None where unlabelled.
        label_name: that label's name.
        text: text printed on the sticker, where the corpus has it.
        part: a part of the split that is reported apart (emoji: seen, unseen; MET-Meme: the language).
        topic: what the sticker belongs to beside its label (SER30K: the sticker set), where the corpus says.
        votes: label indices that single annotators gave, None for a missing one; empty where the corpus
            has only the label. `pipeline.agreement` makes use of them.
    """

    id: str
    path: str
    split: str
    label: int | None = None
    label_name: str | None = None
    text: str | None = None
    part: str | None = None
    topic: str | None = None
    votes: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """The stickers of one card below one root, in the order of the corpus' own files.

    Attributes:
        card: the card; with the labels found in the data where the card itself gives none.
        notes: what a person should know about this copy, one sentence each.
        problems: what makes figures wrong, one sentence each.
        skipped: stickers that the corpus' files name and that cannot be used, each with the reason.
    """

    card: Card
    root: Path
    stickers: Sequence[Sticker]
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()
    skipped: Sequence[tuple[str, str]] = ()

    def split(self, name: str) -> list[Sticker]:
        """Stickers of one split.

        Raises:
            ValueError: the split is empty or not there.
        """
        wanted = SPLIT_NAMES.get(name, name)
        found = [sticker for sticker in self.stickers if sticker.split == wanted]
        if not found:
            have = ", ".join(sorted({sticker.split for sticker in self.stickers}))
            raise ValueError(
                f"the corpus {self.card.name} has no sticker in the split '{name}' (it has: {have}): "
                "'mghft data split' makes splits"
            )
        return found

    def fingerprint(self) -> str:
        """SHA-256 of the card, not of the sticker list: new stickers are new work, not a new run."""
        facts = {"card": self.card.name, "adapter": self.card.adapter, "labels": self.card.labels}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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


def label_index(card: Card, name: str, where: str) -> int:
    """Index of a label by its name.

    Raises:
        ValueError: the card has no such label; the message names the place.
    """
    if name not in card.labels:
        raise ValueError(f"{where}: the label {name!r} is not one of the card's: {', '.join(card.labels)}")
    return card.labels.index(name)
