"""A corpus on disk against its card: counts, labels, images that cannot be read, duplicates.

Problems are what makes figures wrong or a run fail; notes are what a person should know.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, read_image
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.progress import Advance
from mghft.pipeline.text import first_and_more, plural, printable

UNLABELLED = "(none)"
# Channels as light as that are white to the eye.
_BLANK = 253


@dataclass(frozen=True)
class CorpusCheck:
    """Findings on one corpus.

    Attributes:
        problems: one sentence each; empty means that the corpus is fit for use.
        notes: one sentence each; worth knowing, no fault.
        counts: stickers by split and label name; unlabelled stickers under "(none)".
        unreadable: id and reason of every sticker whose image cannot be used.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


class ImageCheck(TypedDict):
    """Findings on one image.

    Attributes:
        sha256: of the bytes, None where there are none.
        error: why the image cannot be used, None where it can.
        blank: nothing stands out from the white that transparency is laid on; False where no pixel was read.
    """

    sha256: str | None
    error: str | None
    blank: bool


def check_corpus(
    card: Card,
    root: str | Path,
    *,
    fast: bool = False,
    workers: int | None = None,
    progress: Advance | None = None,
) -> CorpusCheck:
    """Read the whole corpus, every image included, and compare it with its card; see `check_loaded`.

    Raises:
        FileNotFoundError: the root or an index file is missing.
        ValueError: an index file is malformed, so there is nothing to check.
    """
    return check_loaded(load_corpus(card, root), fast=fast, workers=workers, progress=progress)


def check_loaded(
    corpus: Corpus, *, fast: bool = False, workers: int | None = None, progress: Advance | None = None
) -> CorpusCheck:
    """Read every image of a listed corpus, and compare the corpus with its card.

    Args:
        corpus: from `load_corpus`.
        fast: of an image that has its format's own end only the header is looked at, so damage in its middle
            and a blank picture stay unseen; every other is decoded. Duplicates are found either way.
        workers: processes that decode; None takes one per core.
        progress: called with (images done, images in all) after each image.
    """
    card, root, stickers = corpus.card, corpus.root, corpus.stickers
    counts = _count(card, stickers)
    problems, notes = _check_counts(card, counts)
    problems += _check_labels(card, stickers)

    unreadable: list[tuple[str, str]] = []
    blank: list[str] = []
    by_digest: defaultdict[str, list[Sticker]] = defaultdict(list)
    job = check_header if fast else check_pixels
    paths = [sticker.path for sticker in stickers]
    checks = map_images(root, paths, job, workers=workers, progress=progress)
    for sticker, check in zip(stickers, checks, strict=True):
        if isinstance(check, ImageError):
            unreadable.append((sticker.id, str(check)))
            continue
        if check["sha256"] is not None:
            by_digest[check["sha256"]].append(sticker)
        if check["error"] is not None:
            unreadable.append((sticker.id, check["error"]))
        if check["blank"]:
            blank.append(sticker.id)
    if unreadable:
        named = first_and_more((f"{name} ({reason})" for name, reason in unreadable), separator="; ")
        problems.append(f"{plural(unreadable, 'image')} cannot be read: {named}")
    if blank:
        verb = "shows" if len(blank) == 1 else "show"
        problems.append(
            f"{plural(blank, 'image')} {verb} nothing but white to a model: {first_and_more(blank)}: "
            "describe another frame of animated ones (--frame middle), and lay white drawings on another "
            "--background"
        )
    across, within = _duplicates(by_digest.values())
    return CorpusCheck(problems + across, notes + within, counts, unreadable)


def _count(card: Card, stickers: Sequence[Sticker]) -> dict[str, dict[str, int]]:
    counted = Counter((sticker.split, sticker.label_name or UNLABELLED) for sticker in stickers)
    # The card's splits first, in its order; its labels in index order, those without a sticker as 0.
    present = dict.fromkeys(sticker.split for sticker in stickers)
    splits = [name for name in card.counts if name in present]
    splits += [name for name in present if name not in card.counts]
    counts = {split: {label: counted[split, label] for label in card.labels} for split in splits}
    for split in splits:
        if unlabelled := counted[split, UNLABELLED]:
            counts[split][UNLABELLED] = unlabelled
    return counts


def _check_counts(card: Card, counts: dict[str, dict[str, int]]) -> tuple[list[str], list[str]]:
    problems, notes = [], []
    for split, expected in card.counts.items():
        count = sum(counts.get(split, {}).values())
        if count != expected:
            problems.append(f"the split {split} has {plural(count, 'sticker')}, the card says {expected}")
    for split, expected_labels in card.label_counts.items():
        labels = {label: counts.get(split, {}).get(label, 0) for label in card.labels}
        differ = [
            f"{label} {count}, not {expected_labels[label]}"
            for label, count in labels.items()
            if count != expected_labels[label]
        ]
        if differ and sorted(labels.values()) == sorted(expected_labels.values()):
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
    if card.adapter == "pack":
        return []
    unlabelled = [sticker.id for sticker in stickers if sticker.label is None]
    if unlabelled:
        named = first_and_more(unlabelled, separator="; ")
        return [f"{plural(unlabelled, 'sticker')} without a label: {named}"]
    used = {sticker.label for sticker in stickers}
    unused = [name for index, name in enumerate(card.labels) if index not in used]
    return [f"no sticker at all has the label {', '.join(unused)}"] if unused else []


def check_pixels(root: Path, path: str) -> ImageCheck:
    """Check one image by decoding all of it."""
    return _check_image(root, path, fast=False)


def check_header(root: Path, path: str) -> ImageCheck:
    """Check one image by its header and the end of its file, where they are enough."""
    return _check_image(root, path, fast=True)


def _check_image(root: Path, path: str, *, fast: bool) -> ImageCheck:
    digest = None
    blank = False
    try:
        content = read_image(root, path)
        digest = hashlib.sha256(content).hexdigest()
        if not (fast and read_header(content).whole):
            # A JPEG decoded small is still read to its end, so damage shows, at a fraction of the time.
            image = decode_bytes(content, ImageTransform(max_side=64))
            blank = all(low >= _BLANK for low, _ in image.getextrema())  # type: ignore[misc]
    except ImageError as error:
        return {"sha256": digest, "error": printable(str(error)), "blank": False}
    return {"sha256": digest, "error": None, "blank": blank}


def _duplicates(groups: Iterable[list[Sticker]]) -> tuple[list[str], list[str]]:
    """Problems: the same bytes in several splits; notes: again in one split, or under several labels."""
    same = [group for group in groups if len(group) > 1]
    across = [group for group in same if len({sticker.split for sticker in group}) > 1]
    within = [group for group in same if len({sticker.split for sticker in group}) == 1]
    labels = [group for group in same if len({sticker.label for sticker in group}) > 1]
    problems = _sentence("in more than one split", across, lambda sticker: sticker.split)
    notes = _sentence("more than once in one split", within, lambda sticker: sticker.split)
    notes += _sentence("with more than one label", labels, lambda one: one.label_name or UNLABELLED)
    return problems, notes


def _sentence(what: str, groups: Sequence[Sequence[Sticker]], fact: Callable[[Sticker], str]) -> list[str]:
    if not groups:
        return []
    named = [
        first_and_more((f"{sticker.id} ({fact(sticker)})" for sticker in group), separator=" = ")
        for group in groups
    ]
    return [f"{plural(groups, 'image')} {what}, byte for byte: {first_and_more(named, separator='; ')}"]
