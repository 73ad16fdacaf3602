"""Statistics of a corpus: classes by split, sizes and modes of images, lengths and scripts of texts.

Of images only the header is read. Languages are told by script, counted letter by letter from Unicode's own
names: the texts on stickers are a word or two, too short for a statistical language detector, and the script
is a fact. It tells Chinese, Japanese (kana) and Korean from English, but not English from French.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from mghft.pipeline.audit.check import UNLABELLED
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.progress import Advance
from mghft.pipeline.text import first_and_more, plural, printable

NO_TEXT, NO_LETTER = "(no text)", "(no letter)"
_USUAL_SPLITS = ("train", "validation", "test")
_SCRIPTS = {
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "HANGUL": "Hangul",
    "FULLWIDTH": "Latin",
}


class ImageFacts(TypedDict):
    """Facts from the header of one image, as in `Header`."""

    format: str
    mode: str
    width: int
    height: int
    animated: bool
    transparent: bool


@dataclass(frozen=True)
class ImageCounts:
    """Counts of images by format, mode, size ("640x480"), most frequent first; quantiles of their sides."""

    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]
    width: list[int]
    height: list[int]
    animated: int
    transparent: int


@dataclass(frozen=True)
class TextCounts:
    """Counts of texts on stickers.

    Attributes:
        characters, words: quantiles.
        scripts: texts by the script that most of their letters are of.
        mixed: texts with letters of several scripts.
    """

    with_text: int
    characters: list[int]
    words: list[int]
    scripts: dict[str, int]
    mixed: int


class Table(NamedTuple):
    """A table to be printed: the first column holds names, the others numbers."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class CorpusStats:
    """Counts of a corpus.

    Attributes:
        classes: stickers by split and label.
        topics: how many, None where the corpus has none.
        unreadable: (id, reason).
    """

    corpus: str
    stickers: int
    classes: dict[str, dict[str, int]]
    images: ImageCounts
    texts: TextCounts
    topics: int | None
    unreadable: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {**asdict(self), "unreadable": dict(self.unreadable)}

    def class_table(self) -> Table:
        """Return stickers by split and label as a table."""
        labels = list(next(iter(self.classes.values()), {}))
        rows = [
            [split, *(str(counts[label]) for label in labels), str(sum(counts.values()))]
            for split, counts in self.classes.items()
        ]
        return Table(["split", *labels, "all"], rows)

    def sentences(self) -> list[str]:
        """Return the figures beside `class_table`, one sentence each."""
        images, texts = self.images, self.texts
        sentences = [
            f"images: {_counted(images.formats)}; modes {_counted(images.modes)}",
            f"sizes: {_counted(images.sizes)}",
            f"width {_range(images.width)}, height {_range(images.height)} "
            "(least, lower quartile, median, upper quartile, most)",
            f"animated: {images.animated}, with transparency: {images.transparent}",
        ]
        if texts.with_text:
            sentences += [
                f"texts: on {plural(texts.with_text, 'sticker')}; characters {_range(texts.characters)}, "
                f"words {_range(texts.words)}",
                f"scripts: {_counted(texts.scripts)}; {plural(texts.mixed, 'text')} in more than one",
            ]
        else:
            sentences.append("texts: none")
        if self.topics is not None:
            sentences.append(f"topics: {self.topics}")
        if self.unreadable:
            name, reason = self.unreadable[0]
            count = plural(self.unreadable, "image")
            sentences.append(f"{count} without a readable header, the first is {name} ({reason})")
        return sentences


def corpus_stats(
    corpus: Corpus, *, workers: int | None = None, progress: Advance | None = None
) -> CorpusStats:
    """Count everything; no pixel is decoded (but those of icons)."""
    stickers = corpus.stickers
    paths = [sticker.path for sticker in stickers]
    images = map_images(corpus.root, paths, image_facts, workers=workers, progress=progress)
    topics = {sticker.topic for sticker in stickers if sticker.topic is not None}
    return CorpusStats(
        corpus=corpus.card.name,
        stickers=len(stickers),
        classes=count_classes(stickers, corpus.card.labels),
        images=_count_images([image for image in images if not isinstance(image, ImageError)]),
        texts=_count_texts([sticker.text or "" for sticker in stickers]),
        topics=len(topics) or None,
        unreadable=[
            (sticker.id, printable(str(image)))
            for sticker, image in zip(stickers, images, strict=True)
            if isinstance(image, ImageError)
        ],
    )


def image_facts(root: Path, path: str) -> ImageFacts:
    """Read the header of one image.

    Raises:
        ImageError: it cannot be read.
    """
    header = read_header(read_image(root, path))
    return {
        "format": header.format,
        "mode": header.mode,
        "width": header.width,
        "height": header.height,
        "animated": header.animated,
        "transparent": header.transparent,
    }


def count_classes(stickers: Sequence[Sticker], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count stickers by split and label, the splits in the usual order, the labels in index order."""
    counts = Counter((sticker.split, sticker.label_name or UNLABELLED) for sticker in stickers)
    present = {split for split, _ in counts}
    splits = [split for split in _USUAL_SPLITS if split in present]
    splits += sorted(present.difference(_USUAL_SPLITS))
    names = [*labels, *([UNLABELLED] if any(label == UNLABELLED for _, label in counts) else [])]
    return {split: {name: counts[split, name] for name in names} for split in splits}


def script_of(text: str) -> str:
    """Return the script that most letters of a text are of, in the words of `_SCRIPTS` or Unicode's own."""
    scripts = scripts_in(text)
    if not scripts:
        return NO_LETTER if text.strip() else NO_TEXT
    return scripts.most_common(1)[0][0]


def scripts_in(text: str) -> Counter[str]:
    """Count letters by script."""
    scripts: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            first = unicodedata.name(character, "UNKNOWN").split()[0]
            scripts[_SCRIPTS.get(first, first.capitalize())] += 1
    return scripts


def quantiles(values: Sequence[int]) -> list[int]:
    """Return least, lower quartile, median, upper quartile, most: values that occur; of nothing none."""
    if not values:
        return []
    return [int(value) for value in np.quantile(values, np.linspace(0, 1, 5), method="nearest")]


def _count_images(images: Sequence[ImageFacts]) -> ImageCounts:
    return ImageCounts(
        formats=dict(Counter(image["format"] for image in images).most_common()),
        modes=dict(Counter(image["mode"] for image in images).most_common()),
        sizes=dict(Counter(f"{image['width']}x{image['height']}" for image in images).most_common()),
        width=quantiles([image["width"] for image in images]),
        height=quantiles([image["height"] for image in images]),
        animated=sum(image["animated"] for image in images),
        transparent=sum(image["transparent"] for image in images),
    )


def _count_texts(texts: Sequence[str]) -> TextCounts:
    written = [text for text in texts if text.strip()]
    return TextCounts(
        with_text=len(written),
        characters=quantiles([len(text) for text in written]),
        words=quantiles([len(text.split()) for text in written]),
        scripts=dict(Counter(map(script_of, written)).most_common()),
        mixed=sum(len(scripts_in(text)) > 1 for text in written),
    )


def _counted(counts: Mapping[str, int]) -> str:
    return first_and_more((f"{name} {count}" for name, count in counts.items()), 6) or "none"


def _range(values: Sequence[int]) -> str:
    return " ".join(map(str, values)) or "unknown"
