"""A corpus on disk, read by its card into a list of stickers; no image is opened here."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.cards import Card, Columns

SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation"}
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng", ".avif"}
)
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
        part: a part of the split that is reported apart (emoji: seen, unseen).
        topic: what the sticker belongs to beside its label (SER30K: the sticker set), where the corpus says.
    """

    id: str
    path: str
    split: str
    label: int | None = None
    label_name: str | None = None
    text: str | None = None
    part: str | None = None
    topic: str | None = None


@dataclass(frozen=True)
class Corpus:
    """The stickers of one card below one root, in the order of the corpus' own files."""

    card: Card
    root: Path
    stickers: Sequence[Sticker]

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
                f"the corpus {self.card.name} has no sticker in the split '{name}' (it has: {have})"
            )
        return found

    def fingerprint(self) -> str:
        """SHA-256 of the card, not of the sticker list: new stickers are new work, not a new run."""
        facts = {"card": self.card.name, "adapter": self.card.adapter, "labels": self.card.labels}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def load_corpus(card: Card, root: str | Path) -> Corpus:
    """Lists the stickers of a corpus.

    Raises:
        FileNotFoundError: the root or an index file is missing.
        ValueError: an index file is malformed, a label unknown, an id given twice, or nothing is there.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(
            f"the data folder {root} is not there: give the folder of the corpus {card.name} with --data"
        )
    readers = {"table": _read_table, "ser30k": _read_ser30k, "folder": _read_folder}
    stickers = readers[card.adapter](card, root)
    if not stickers:
        raise ValueError(f"the corpus {card.name} below {root} has no stickers")
    seen: set[str] = set()
    for sticker in stickers:
        if sticker.id in seen:
            raise ValueError(f"the corpus {card.name} lists the sticker {sticker.id!r} twice")
        seen.add(sticker.id)
    return Corpus(card, root, stickers)


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


def _clean(text: object) -> str | None:
    """A sticker's own text, None where there is none; lone surrogates become question marks."""
    return None if text is None else str(text).encode("utf-8", "replace").decode("utf-8") or None


def _label(card: Card, name: str, where: str) -> int:
    if name not in card.labels:
        raise ValueError(f"{where}: the label {name!r} is not one of the card's: {', '.join(card.labels)}")
    return card.labels.index(name)


def _read_table(card: Card, root: Path) -> list[Sticker]:
    """A CSV with a header; the label column holds names."""
    assert card.file is not None and card.columns is not None
    file, columns = root / card.file, card.columns
    if not file.is_file():
        raise FileNotFoundError(
            f"the corpus {card.name} needs the file {card.file} in {root}, and it is not there"
        )
    try:
        return _table_rows(card, file, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} is no CSV in UTF-8 ({error}): save it again as UTF-8") from None


def _table_rows(card: Card, file: Path, columns: Columns) -> list[Sticker]:
    stickers = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream)
        lacking = [
            name for name in columns.model_dump().values() if name and name not in (rows.fieldnames or [])
        ]
        if lacking:
            raise ValueError(f"{file} lacks the column {', '.join(lacking)} that the card {card.name} names")
        for row in rows:
            where = f"{file}, line {rows.line_num}"
            path = row[columns.path]
            if not path:
                raise ValueError(f"{where}: the column '{columns.path}' is empty")
            name = (row[columns.label] or None) if columns.label else None
            split = (row[columns.split] if columns.split else "") or "all"
            stickers.append(
                Sticker(
                    id=path,
                    path=path,
                    split=SPLIT_NAMES.get(split, split),
                    label=None if name is None else _label(card, name, where),
                    label_name=name,
                    text=(row[columns.text] or None) if columns.text else None,
                    part=(row[columns.part] or None) if columns.part else None,
                )
            )
    return stickers


def _read_folder(card: Card, root: Path) -> list[Sticker]:
    """One folder per class, or split/class; files in sorted order."""
    stickers = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        relative = path.relative_to(root)
        if len(relative.parts) < 2:
            continue
        name = relative.parts[-2]
        split = relative.parts[0] if len(relative.parts) > 2 else "all"
        stickers.append(
            Sticker(
                id=printable(relative.as_posix()),
                path=relative.as_posix(),
                split=SPLIT_NAMES.get(split, printable(split)),
                label=_label(card, name, printable(str(path))),
                label_name=name,
            )
        )
    return stickers


def _read_ser30k(card: Card, root: Path) -> list[Sticker]:
    """SER30K: `Images/<topic>/<file_name>` and one JSON per split, in either of the two published layouts."""
    stickers = []
    for split in ("train", "val", "test"):
        places = [
            root / "Annotations" / "image-level" / f"{split}.json",
            root / "Annotations" / f"{split}.json",
        ]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise FileNotFoundError(
                f"the corpus {card.name} needs {places[0]} or {places[1]}, and neither is there"
            )
        try:
            rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["annotations"]
            if not isinstance(rows, list):
                raise TypeError
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{file} is no JSON object with a list 'annotations' ({type(error).__name__})"
            ) from None
        for number, row in enumerate(rows):
            try:
                topic, name, label = str(row["topic"]), str(row["file_name"]), int(row["anno"]) - 1
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{file}, row {number}: malformed field {error}") from None
            if not 0 <= label < len(card.labels):
                raise ValueError(
                    f"{file}, row {number}: anno is {label + 1}, expected 1 to {len(card.labels)}"
                )
            stickers.append(
                Sticker(
                    id=printable(f"{topic}/{name}"),
                    path=f"Images/{topic}/{name}",
                    split=SPLIT_NAMES.get(split, split),
                    label=label,
                    label_name=card.labels[label],
                    text=_clean(row.get("text")),
                    topic=printable(topic),
                )
            )
    return stickers
