"""Duplicates as files: a table, figures, a page of the worst pairs side by side, a split without leaks."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.audit.duplicates import MAX_PAIRS, Duplicates, Pair
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import check_folder, check_target, write_json, write_text
from mghft.pipeline.html import check_page, picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_image
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.text import plural

TABLE, FIGURES, PAGE, CLEAN = "duplicates.csv", "duplicates.json", "duplicates.html", "clean-split.csv"
MARK = b'<meta name="generator" content="mghft data duplicates">'
KIND_NAMES = {
    "bytes": "the same bytes",
    "pixels": "the same pixels",
    "near": "nearly the same",
    "mirrored": "nearly the same, mirrored",
}
_SHOWN = 60
_PICTURE = 192
_HEADER = [
    "kind",
    "difference",
    "bits",
    "across_splits",
    "two_labels",
    *(f"{name}_{end}" for end in ("a", "b") for name in ("id", "split", "label", "topic")),
]


def write_report(
    duplicates: Duplicates, out: Path, *, drop_leaks: bool = False, shown: int = _SHOWN
) -> list[Path]:
    """Write duplicates.csv, .json and .html, and with `drop_leaks` clean-split.csv, into `out`.

    Raises:
        ValueError: a clean split already exists, or the page is a file of another kind.
    """
    check_report(out, drop_leaks=drop_leaks)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / TABLE, out / FIGURES, out / PAGE]
    _write_csv(files[0], _HEADER, map(_cells, duplicates.pairs))
    write_json(files[1], report_figures(duplicates))
    _write_page(files[2], duplicates, shown)
    if drop_leaks:
        kept = ((one.id, one.split) for one in duplicates.corpus.stickers if one.id not in duplicates.leaks)
        _write_csv(out / CLEAN, ["id", "split"], kept)
        files.append(out / CLEAN)
    return files


def check_report(out: Path, *, drop_leaks: bool) -> None:
    """Refuse before the work what would be refused after it.

    Raises:
        ValueError: as in `write_report`.
    """
    check_folder(out)
    check_page(out / PAGE, MARK, "page of duplicates")
    if drop_leaks:
        check_target(out / CLEAN)


def report_figures(duplicates: Duplicates) -> dict[str, Any]:
    """Return everything that was counted, and which stickers leak into which, as JSON has it."""
    return {
        "corpus": duplicates.corpus.card.name,
        "stickers": len(duplicates.corpus.stickers),
        "pairs": {kind: asdict(counts) for kind, counts in duplicates.counts().items()},
        "pairs_by_splits": dict(_count_by_splits(duplicates.pairs)),
        "topics": {} if duplicates.topics is None else asdict(duplicates.topics),
        "leaks": {
            leak.id: {"of": leak.of, "kind": leak.kind, "split": leak.split, "other_split": leak.other_split}
            for leak in _leaks(duplicates)
        },
        "unreadable": dict(duplicates.errors),
        "pairs_cut": duplicates.cut,
    }


def summarize(duplicates: Duplicates) -> list[str]:
    """Return the findings, one sentence a line; what is nothing is said too."""
    lines = [
        f"{KIND_NAMES[kind]}: {plural(counts.pairs, 'pair')}, {counts.across_splits} across splits, "
        f"{counts.two_labels} under two labels"
        for kind, counts in duplicates.counts().items()
    ]
    lines += [f"pairs of {splits}: {count}" for splits, count in _count_by_splits(duplicates.pairs)]
    if duplicates.cut:
        lines.append(f"only the first {MAX_PAIRS} near pairs were kept: lower --near")
    leaking = Counter((leak.split, leak.other_split) for leak in _leaks(duplicates))
    lines += [
        f"leaks: {plural(count, 'sticker')} of {split} also in {other}"
        for (split, other), count in leaking.most_common()
    ]
    if topics := duplicates.topics:
        lines.append(
            f"topics: {topics.train} in train, {topics.test} in test, {topics.shared} in both; "
            f"{topics.test_stickers_of_shared} of {plural(topics.test_stickers, 'test sticker')} of a topic "
            "that train knows too"
        )
        if topics.shared:
            lines.append(
                "so a figure on test says nothing about sticker sets that were never seen; --drop-leaks does "
                "not change that"
            )
    if duplicates.errors:
        name, reason = duplicates.errors[0]
        images = plural(duplicates.errors, "image")
        lines.append(f"{images} could not be compared, the first is {name} ({reason})")
    return lines


def pair_line(pair: Pair) -> str:
    """Return a pair on one line."""
    difference = f" ({pair.difference:.1f})" if pair.kind in ("near", "mirrored") else ""
    return f"{KIND_NAMES[pair.kind]}{difference}: {_named(pair.first)} = {_named(pair.second)}"


def _named(sticker: Sticker) -> str:
    return f"{sticker.id} ({sticker.split}, {sticker.label_name or 'no label'})"


def _count_by_splits(pairs: Sequence[Pair]) -> list[tuple[str, int]]:
    counts = Counter(" and ".join(sorted({pair.first.split, pair.second.split})) for pair in pairs)
    return counts.most_common()


class _LeakRow(NamedTuple):
    id: str
    of: str
    kind: str
    split: str
    other_split: str


def _leaks(duplicates: Duplicates) -> Iterator[_LeakRow]:
    splits = {sticker.id: sticker.split for sticker in duplicates.corpus.stickers}
    for name, leak in duplicates.leaks.items():
        yield _LeakRow(name, leak.id, leak.kind, splits[name], splits[leak.id])


def _cells(pair: Pair) -> list[Any]:
    ends = [[one.id, one.split, one.label_name, one.topic] for one in (pair.first, pair.second)]
    return [pair.kind, pair.difference, pair.bits, pair.across_splits, pair.two_labels, *ends[0], *ends[1]]


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_page(path: Path, duplicates: Duplicates, shown: int) -> None:
    facts = {
        "mark": MARK.decode(),
        "title": duplicates.corpus.card.title,
        "count": len(duplicates.pairs),
        "lines": summarize(duplicates),
        "kinds": KIND_NAMES,
        "side": _PICTURE,
        "pairs": (_on_page(duplicates.corpus.root, pair) for pair in duplicates.pairs[:shown]),
        "not_shown": max(0, len(duplicates.pairs) - shown),
    }
    write_page(path, "duplicates.html.j2", facts)


def _on_page(root: Path, pair: Pair) -> dict[str, Any]:
    ends = []
    for sticker in (pair.first, pair.second):
        try:
            image = decode_image(root, sticker.path, max_side=ImageTransform().max_side)
            image.thumbnail((_PICTURE, _PICTURE))
            ends.append({"sticker": sticker, "picture": picture_url(image), "size": image.size})
        except ImageError as error:
            ends.append({"sticker": sticker, "picture": None, "size": (0, 0), "error": str(error)})
    return {"pair": pair, "ends": ends}
