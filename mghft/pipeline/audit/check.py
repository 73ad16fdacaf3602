"""Checks a corpus on disk against its card: counts, labels, images that cannot be read, duplicates.

Problems are what makes figures wrong or a run fail; notes are what a person should know.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.parallel import Answer, Progress, map_images
from mghft.pipeline.text import printable

UNLABELLED = "(none)"
_NAMED = 3


@dataclass(frozen=True)
class CorpusCheck:
    """What was found.

    Attributes:
        problems: one sentence each; empty means that the corpus is fit for use.
        notes: one sentence each; worth knowing, no fault.
        counts: stickers by split and label name; unlabelled stickers under "(none)".
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


def check_corpus(
    card: Card,
    root: str | Path,
    *,
    fast: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CorpusCheck:
    """Reads the whole corpus, every image included.

    Args:
        card: the corpus' card.
        root: folder of the corpus.
        fast: of an image that has its format's own end only the header is looked at, so damage in its middle
            stays unseen; every other is decoded. Duplicates are found either way.
        workers: processes that decode; None takes one per core.
        progress: called with (images done, images in all) after each image.

    Raises:
        FileNotFoundError: the root or an index file is missing.
        ValueError: an index file is malformed, so there is nothing to check.
    """
    root = Path(root)
    stickers = load_corpus(card, root).stickers
    counts = _count(card, stickers)
    problems, notes = _check_counts(card, counts)
    problems += _check_labels(card, stickers)

    unreadable: list[tuple[str, str]] = []
    by_digest: defaultdict[str, list[Sticker]] = defaultdict(list)
    job = "mghft.pipeline.audit.check:glance" if fast else "mghft.pipeline.audit.check:inspect"
    paths = [sticker.path for sticker in stickers]
    answers = map_images(root, paths, job, workers=workers, progress=progress)
    for sticker, answer in zip(stickers, answers, strict=True):
        if answer.get("sha256"):
            by_digest[answer["sha256"]].append(sticker)
        if answer.get("error"):
            unreadable.append((sticker.id, answer["error"]))
    if unreadable:
        named = _first(f"{name} ({reason})" for name, reason in unreadable)
        problems.append(f"{_many(len(unreadable), 'image')} cannot be read: {named}")
    across, within = _duplicates(by_digest.values())
    return CorpusCheck(problems + across, notes + within, counts)


def _count(card: Card, stickers: Sequence[Sticker]) -> dict[str, dict[str, int]]:
    found = Counter((sticker.split, sticker.label_name or UNLABELLED) for sticker in stickers)
    # The card's splits first, in its order; its labels in index order, those without a sticker as 0.
    here = dict.fromkeys(sticker.split for sticker in stickers)
    splits = [name for name in card.counts if name in here]
    splits += [name for name in here if name not in card.counts]
    counts = {split: {label: found[split, label] for label in card.labels} for split in splits}
    for split in splits:
        if missing := found[split, UNLABELLED]:
            counts[split][UNLABELLED] = missing
    return counts


def _check_counts(card: Card, counts: dict[str, dict[str, int]]) -> tuple[list[str], list[str]]:
    problems, notes = [], []
    for split, expected in card.counts.items():
        found = sum(counts.get(split, {}).values())
        if found != expected:
            problems.append(f"the split {split} has {_many(found, 'sticker')}, the card says {expected}")
    for split, wanted in card.label_counts.items():
        here = {label: counts.get(split, {}).get(label, 0) for label in card.labels}
        differ = [
            f"{label} {here[label]}, not {wanted[label]}"
            for label in card.labels
            if here[label] != wanted[label]
        ]
        if differ and sorted(here.values()) == sorted(wanted.values()):
            problems.append(
                f"the split {split} has the card's counts under other labels ({'; '.join(differ)}): "
                "the card's labels are in another order than the corpus' numbers"
            )
        elif differ:
            notes.append(f"the split {split} has other counts than the card says: {'; '.join(differ)}")
    unknown = [split for split in counts if split not in card.counts and split not in card.label_counts]
    # A card without any count has nothing to be compared with.
    if unknown and (card.counts or card.label_counts):
        notes.append(f"the card gives no count for the split {', '.join(unknown)}")
    for split, by_label in counts.items():
        absent = [label for label in card.labels if not by_label[label]]
        if absent and len(absent) < len(card.labels):
            notes.append(f"the split {split} has no sticker of {', '.join(absent)}")
    return problems, notes


def _check_labels(card: Card, stickers: Sequence[Sticker]) -> list[str]:
    bare = [sticker.id for sticker in stickers if sticker.label is None]
    if bare:
        return [f"{_many(len(bare), 'sticker')} without a label: {_first(bare)}"]
    used = {sticker.label for sticker in stickers}
    unused = [name for index, name in enumerate(card.labels) if index not in used]
    return [f"no sticker at all has the label {', '.join(unused)}"] if unused else []


def inspect(root: Path, path: str) -> Answer:
    """SHA-256 of the bytes (None where there are none) and why the image cannot be used (None: it can)."""
    return _judge(root, path, fast=False)


def glance(root: Path, path: str) -> Answer:
    """As `inspect`, by header and end of the file where they are enough."""
    return _judge(root, path, fast=True)


def _judge(root: Path, path: str, *, fast: bool) -> Answer:
    digest = None
    try:
        content = read_image(root, path)
        digest = hashlib.sha256(content).hexdigest()
        if not (fast and read_header(content).whole):
            # A JPEG decoded small is still read to its end, so damage shows, at a fraction of the time.
            decode_bytes(content, ImageTransform(max_side=64))
    except ImageError as error:
        return {"sha256": digest, "error": printable(str(error))}
    return {"sha256": digest, "error": None}


def _duplicates(groups: Iterable[list[Sticker]]) -> tuple[list[str], list[str]]:
    """Problems: the same bytes in several splits or under several labels; notes: again in one split."""
    same = [group for group in groups if len(group) > 1]
    across = [group for group in same if len({sticker.split for sticker in group}) > 1]
    within = [group for group in same if len({sticker.split for sticker in group}) == 1]
    torn = [group for group in same if len({sticker.label for sticker in group}) > 1]
    problems, notes = [], []
    if across:
        named = _first(_group(group) for group in across)
        problems.append(f"{_many(len(across), 'image')} in more than one split, byte for byte: {named}")
    if within:
        named = _first(_group(group) for group in within)
        notes.append(f"{_many(len(within), 'image')} more than once in one split, byte for byte: {named}")
    if torn:
        named = _first(_group(group, labels=True) for group in torn)
        notes.append(f"{_many(len(torn), 'image')} with more than one label, byte for byte: {named}")
    return problems, notes


def _group(group: Sequence[Sticker], *, labels: bool = False) -> str:
    return " = ".join(
        f"{sticker.id} ({(sticker.label_name or UNLABELLED) if labels else sticker.split})"
        for sticker in group[:_NAMED]
    )


def _first(items: Iterable[str]) -> str:
    named = list(items)
    return "; ".join(named[:_NAMED]) + ("; …" if len(named) > _NAMED else "")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
