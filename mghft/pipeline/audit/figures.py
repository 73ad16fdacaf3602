"""Pictures of a corpus: classes by split, sizes, texts, and a sheet of samples of every class."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mghft.pipeline.audit.check import UNLABELLED
from mghft.pipeline.audit.statistics import CorpusStats
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.files import write_bytes
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_image

_CELL, _GAP = 128, 8
_LINE, _MISSING = (227, 230, 236), (252, 239, 236)


def draw_stats(stats: CorpusStats, corpus: Corpus, out: Path) -> list[Path]:
    """Write classes.png, sizes.png and, where there are texts, texts.png."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [
        draw_classes(out / "classes.png", stats.classes),
        _draw(out / "sizes.png", lambda axes: _sizes(axes, stats.images.sizes)),
    ]
    if stats.texts.with_text:
        lengths = [len(sticker.text) for sticker in corpus.stickers if sticker.text and sticker.text.strip()]
        paths.append(_draw(out / "texts.png", lambda axes: _texts(axes, lengths)))
    return paths


def draw_classes(path: Path, classes: Mapping[str, Mapping[str, int]]) -> Path:
    """Draw stickers by split and label as bars; return the path."""
    return _draw(path, lambda axes: _classes(axes, classes))


def draw_sheets(corpus: Corpus, out: Path, *, count: int = 40, seed: int = 0) -> list[Path]:
    """Write sheet-0-LABEL.png and so on: a seeded sample of every class, in the order drawn.

    The sample depends on ids and seed alone. An image that cannot be read leaves a tinted field.
    """
    out.mkdir(parents=True, exist_ok=True)
    labels = [*corpus.card.labels, UNLABELLED]
    paths = []
    for number, label in enumerate(labels):
        members = [one for one in corpus.stickers if (one.label_name or UNLABELLED) == label]
        if not members:
            continue
        safe = re.sub(r"[^\w-]+", "_", label).strip("_") or "class"
        path = out / f"sheet-{number}-{safe}.png"
        stream = BytesIO()
        sheet(corpus.root, sample(members, count, seed)).save(stream, "PNG")
        write_bytes(path, stream.getvalue())
        paths.append(path)
    return paths


def sample(stickers: Sequence[Sticker], count: int, seed: int) -> list[Sticker]:
    """Return at most `count` of them, by ids and seed alone."""
    ordered = sorted(stickers, key=lambda sticker: sticker.id)
    return [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))[:count]]


def sheet(root: Path, stickers: Sequence[Sticker]) -> Image.Image:
    """Draw a grid of pictures on white, reduced to 128 pixels, in reading order."""
    columns = max(1, math.ceil(math.sqrt(len(stickers) * 1.6)))
    rows = math.ceil(len(stickers) / columns)
    step = _CELL + _GAP
    page = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), _LINE)
    for number, sticker in enumerate(stickers):
        left, top = number % columns * step + _GAP, number // columns * step + _GAP
        cell = Image.new("RGB", (_CELL, _CELL), "white")
        try:
            image = decode_image(root, sticker.path, max_side=_CELL)
            cell.paste(image, ((_CELL - image.width) // 2, (_CELL - image.height) // 2))
        except ImageError:
            cell.paste(_MISSING, (0, 0, _CELL, _CELL))
        page.paste(cell, (left, top))
    return page


def _draw(path: Path, draw: Callable[[Axes], None]) -> Path:
    figure = Figure(figsize=(8, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    stream = BytesIO()
    figure.savefig(stream, format="png")
    write_bytes(path, stream.getvalue())
    return path


def _classes(axes: Axes, classes: Mapping[str, Mapping[str, int]]) -> None:
    labels = list(next(iter(classes.values())))
    width = 0.8 / len(classes)
    for number, (split, counts) in enumerate(classes.items()):
        places = np.arange(len(labels)) + (number - (len(classes) - 1) / 2) * width
        bars = axes.bar(places, [counts[label] for label in labels], width, label=split)
        if len(labels) * len(classes) <= 30:
            axes.bar_label(bars, fontsize=7)
    axes.set_xticks(range(len(labels)), [_plain(label) for label in labels], rotation=30, ha="right")
    axes.set_ylabel("stickers")
    # Above the axes: inside it would cover bars.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, len(classes)), frameon=False)


def _sizes(axes: Axes, sizes: Mapping[str, int]) -> None:
    if sizes:
        x, y = zip(*(map(int, size.split("x")) for size in sizes), strict=True)
        areas = [20 + 200 * count / max(sizes.values()) for count in sizes.values()]
        axes.scatter(x, y, s=areas, alpha=0.5)
        side = max(*x, *y) * 1.1
        axes.set(xlim=(0, side), ylim=(0, side), aspect="equal")
    axes.set(xlabel="width in pixels", ylabel="height in pixels", title="larger dots: more images")


def _texts(axes: Axes, lengths: Sequence[int]) -> None:
    axes.hist(lengths, bins=min(50, max(lengths)))
    axes.set(xlabel="characters of the text", ylabel="stickers", yscale="log")


def _plain(label: str) -> str:
    """Return a label that matplotlib takes for no formula."""
    return label.replace("$", r"\$")
