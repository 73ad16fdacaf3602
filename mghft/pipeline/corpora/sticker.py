"""What a corpus is made of: stickers, the names of their splits, and the list of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mghft.pipeline.corpora.card import Card
from mghft.pipeline.text import near

SPLITS = ("train", "validation", "test")
_OTHER_NAMES = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
}


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
        subset: stickers of a split that are reported apart (emoji: unseen style, unseen emoji; MET-Meme:
            the language).
        topic: what the sticker belongs to beside its label (SER30K: the sticker set), where the corpus says.
        votes: label indices that single annotators gave, None for a missing one; empty where the corpus
            has only the label. `mghft.pipeline.audit.agreement` makes use of them.
        label_source: who gave the label, where the corpus says (emoji: emotag, hand); reported apart as well.
        emoji: those that the maker of a sticker pack gave, blanks between several, "" for none; None where
            the corpus is no pack.
    """

    id: str
    path: str
    split: str
    label: int | None = None
    label_name: str | None = None
    text: str | None = None
    subset: str | None = None
    topic: str | None = None
    votes: tuple[int | None, ...] = ()
    label_source: str | None = None
    emoji: str | None = None


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
        """Return the stickers of one split.

        Raises:
            ValueError: the split is empty or does not exist.
        """
        wanted = normal_split(name)
        stickers = [sticker for sticker in self.stickers if sticker.split == wanted]
        if not stickers:
            there = sorted({sticker.split for sticker in self.stickers})
            way_out = "'mghft data split' makes splits"
            if self.card.adapter == "pack":
                way_out = "packs have no labels, so write a table of them ('mghft data show table')"
            raise ValueError(
                f"the corpus {self.card.name} has no sticker in the split '{name}'{near(wanted, there)}; it "
                f"has: {', '.join(there)}; {way_out}"
            )
        return stickers

    def fingerprint(self) -> str:
        """Return the SHA-256 of the card alone: new stickers are new work, not a new run."""
        facts = {"card": self.card.name, "adapter": self.card.adapter, "labels": self.card.labels}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def normal_split(name: str) -> str:
    """Return a split by our name for it: "val" and "Dev" are "validation"; other splits stay as they are."""
    plain = name.strip().lower()
    plain = _OTHER_NAMES.get(plain, plain)
    return plain if plain in SPLITS else name.strip()


def split_order(name: str) -> tuple[int, str]:
    """Return a sort key: train, validation, test, then other splits by name."""
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)


def count_splits(counts: Mapping[str, int]) -> str:
    """Return how many stickers each split has: "train 12, validation 4, test 4"."""
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts, key=split_order))


def label_index(card: Card, name: str, where: str) -> int:
    """Return the index of a label by its name.

    Args:
        card: whose labels they are.
        name: of the label.
        where: place in a file, for the message.

    Raises:
        ValueError: the card has no such label.
    """
    if name not in card.labels:
        raise ValueError(f"{where}: the label {name!r} is not one of the card's: {', '.join(card.labels)}")
    return card.labels.index(name)


def alike(stickers: Sequence[Sticker]) -> list[str | None]:
    """Return the group of every sticker: those of one group are alike, so intervals draw them together.

    The group is the topic (SER30K: the sticker set), and of emoji, whose labels have a source, the emoji,
    which several styles draw in files of the same name.
    """
    return [
        sticker.topic or (PurePosixPath(sticker.path).stem if sticker.label_source else None)
        for sticker in stickers
    ]
