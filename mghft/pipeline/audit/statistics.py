"""What a corpus is made of: classes by split, sizes and modes of images, lengths and scripts of texts.

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
from typing import Any

from mghft.pipeline.audit.check import UNLABELLED
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.parallel import Answer, Progress, map_images
from mghft.pipeline.text import printable

NO_TEXT, NO_LETTER = "(no text)", "(no letter)"
_SCRIPTS = {
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "HANGUL": "Hangul",
    "FULLWIDTH": "Latin",
}


@dataclass(frozen=True)
class CorpusStats:
    """Counts of a corpus.

    Attributes:
        classes: stickers by split and label.
        images: "formats", "modes" and "sizes" with counts; "width", "height" with quantiles;
            "animated" and "transparent" (by mode) as counts.
        texts: "with_text", "characters" and "words" (quantiles), "scripts" (the one that most letters of a
            text are of), "mixed" (texts with letters of several).
        topics: how many, None where the corpus has none.
        unreadable: (id, reason).
    """

    corpus: str
    stickers: int
    classes: dict[str, dict[str, int]]
    images: dict[str, Any]
    texts: dict[str, Any]
    topics: int | None
    unreadable: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "unreadable": dict(self.unreadable)}


def corpus_stats(
    corpus: Corpus, *, workers: int | None = None, progress: Progress | None = None
) -> CorpusStats:
    """Counts everything; no pixel is decoded (but those of icons)."""
    stickers = corpus.stickers
    paths = [sticker.path for sticker in stickers]
    answers = map_images(
        corpus.root, paths, "mghft.pipeline.audit.statistics:look", workers=workers, progress=progress
    )
    topics = {sticker.topic for sticker in stickers if sticker.topic is not None}
    return CorpusStats(
        corpus=corpus.card.name,
        stickers=len(stickers),
        classes=count_classes(stickers, corpus.card.labels),
        images=_image_counts([answer for answer in answers if "error" not in answer]),
        texts=_text_counts([sticker.text or "" for sticker in stickers]),
        topics=len(topics) or None,
        unreadable=[
            (sticker.id, answer["error"])
            for sticker, answer in zip(stickers, answers, strict=True)
            if "error" in answer
        ],
    )


def look(root: Path, path: str) -> Answer:
    """The header of one image."""
    try:
        header = read_header(read_image(root, path))
    except ImageError as error:
        return {"error": printable(str(error))}
    return asdict(header)


def count_classes(stickers: Sequence[Sticker], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Stickers by split and label, the splits in the usual order, the labels in index order."""
    found = Counter((sticker.split, sticker.label_name or UNLABELLED) for sticker in stickers)
    usual = ["train", "validation", "test"]
    splits = sorted({split for split, _ in found}, key=lambda split: (split not in usual, split))
    splits.sort(key=lambda split: usual.index(split) if split in usual else len(usual))
    names = [*labels, *([UNLABELLED] if any(label == UNLABELLED for _, label in found) else [])]
    return {split: {name: found[split, name] for name in names} for split in splits}


def script_of(text: str) -> str:
    """The script that most letters of a text are of, in the words of `_SCRIPTS` or Unicode's own."""
    scripts = scripts_in(text)
    if not scripts:
        return NO_LETTER if text.strip() else NO_TEXT
    return scripts.most_common(1)[0][0]


def scripts_in(text: str) -> Counter[str]:
    """Letters by script."""
    scripts: Counter[str] = Counter()
    for character in text:
        if character.isalpha():
            first = unicodedata.name(character, "UNKNOWN").split()[0]
            scripts[_SCRIPTS.get(first, first.capitalize())] += 1
    return scripts


def lines(stats: CorpusStats) -> list[str]:
    """The figures, one sentence or table row a line."""
    width = max((len(split) for split in stats.classes), default=0)
    columns = list(next(iter(stats.classes.values()), {}))
    found = [f"{stats.stickers} stickers of {stats.corpus}", ""]
    found.append("  ".join([" " * width, *columns, "all"]))
    for split, counts in stats.classes.items():
        cells = [f"{counts[name]:>{len(name)}}" for name in columns]
        found.append("  ".join([f"{split:{width}}", *cells, f"{sum(counts.values()):>3}"]))
    images, texts = stats.images, stats.texts
    found += [
        "",
        f"images: {_named(images['formats'])}; modes {_named(images['modes'])}",
        f"sizes: {_named(images['sizes'])}",
        f"width {_range(images['width'])}, height {_range(images['height'])} "
        "(least, lower quartile, median, upper quartile, most)",
        f"animated: {images['animated']}, with transparency: {images['transparent']}",
    ]
    if texts["with_text"]:
        found += [
            f"texts: {texts['with_text']} stickers have one; characters {_range(texts['characters'])}, "
            f"words {_range(texts['words'])}",
            f"scripts: {_named(texts['scripts'])}; {texts['mixed']} texts in more than one",
        ]
    else:
        found.append("texts: none")
    if stats.topics is not None:
        found.append(f"topics: {stats.topics}")
    if stats.unreadable:
        name, reason = stats.unreadable[0]
        found.append(
            f"{len(stats.unreadable)} images without a readable header, the first is {name} ({reason})"
        )
    return found


def _image_counts(headers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sizes = Counter(f"{header['width']}x{header['height']}" for header in headers)
    return {
        "formats": dict(Counter(header["format"] for header in headers).most_common()),
        "modes": dict(Counter(header["mode"] for header in headers).most_common()),
        "sizes": dict(sizes.most_common()),
        "width": quantiles([header["width"] for header in headers]),
        "height": quantiles([header["height"] for header in headers]),
        "animated": sum(header["animated"] for header in headers),
        "transparent": sum(header["transparent"] for header in headers),
    }


def _text_counts(texts: Sequence[str]) -> dict[str, Any]:
    written = [text for text in texts if text.strip()]
    return {
        "with_text": len(written),
        "characters": quantiles([len(text) for text in written]),
        "words": quantiles([len(text.split()) for text in written]),
        "scripts": dict(Counter(map(script_of, written)).most_common()),
        "mixed": sum(len(scripts_in(text)) > 1 for text in written),
    }


def quantiles(values: Sequence[int]) -> list[int]:
    """Least, lower quartile, median, upper quartile, most; each is a value that occurs. Empty of nothing."""
    ordered = sorted(values)
    return [ordered[round(part * (len(ordered) - 1) / 4)] for part in range(5)] if ordered else []


def _named(counts: Mapping[str, int], most: int = 6) -> str:
    parts = [f"{name} {count}" for name, count in list(counts.items())[:most]]
    left = len(counts) - most
    return ", ".join(parts) + (f" and {left} others" if left > 0 else "") if parts else "none"


def _range(values: Sequence[int]) -> str:
    return " ".join(map(str, values)) or "unknown"
