"""Duplicates as files: a table, figures, a page of the worst pairs side by side, a split without leaks."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mghft.pipeline.audit.duplicates import MAX_PAIRS, Duplicates, Pair
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import check_folder, check_target, write_json, write_text
from mghft.pipeline.html import check_page, picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_image

TABLE, FIGURES, PAGE, CLEAN = "duplicates.csv", "duplicates.json", "duplicates.html", "clean-split.csv"
MARK = b'<meta name="generator" content="mghft data duplicates">'
KINDS = {
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
    found: Duplicates, out: Path, *, drop_leaks: bool = False, shown: int = _SHOWN
) -> list[Path]:
    """Writes duplicates.csv, .json and .html, and with `drop_leaks` clean-split.csv, into `out`.

    Raises:
        ValueError: a clean split already exists, or the page is a file of another kind.
    """
    check_report(out, drop_leaks=drop_leaks)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / TABLE, out / FIGURES, out / PAGE]
    _write_csv(files[0], _HEADER, map(_cells, found.pairs))
    write_json(files[1], figures(found))
    _write_page(files[2], found, shown)
    if drop_leaks:
        kept = ((one.id, one.split) for one in found.corpus.stickers if one.id not in found.leaks)
        _write_csv(out / CLEAN, ["id", "split"], kept)
        files.append(out / CLEAN)
    return files


def check_report(out: Path, *, drop_leaks: bool) -> None:
    """Refuses before the work what would be refused after it.

    Raises:
        ValueError: as in `write_report`.
    """
    check_folder(out)
    check_page(out / PAGE, MARK, "page of duplicates")
    if drop_leaks:
        check_target(out / CLEAN)


def figures(found: Duplicates) -> dict[str, Any]:
    """Everything that was counted, and which stickers leak into which."""
    return {
        "corpus": found.corpus.card.name,
        "stickers": len(found.corpus.stickers),
        "pairs": found.counts(),
        "pairs_by_splits": dict(_by_splits(found.pairs)),
        "topics": found.topics,
        "leaks": {
            name: {"of": other, "kind": kind, "split": split, "other_split": other_split}
            for name, other, kind, split, other_split in _leaks(found)
        },
        "unreadable": dict(found.errors),
        "pairs_cut": found.cut,
    }


def summary(found: Duplicates) -> list[str]:
    """The findings, one sentence a line; what is nothing is said too."""
    lines = []
    for kind, counts in found.counts().items():
        lines.append(
            f"{KINDS[kind]}: {counts['pairs']} pairs, {counts['across_splits']} across splits, "
            f"{counts['two_labels']} under two labels"
        )
    lines += [f"pairs of {splits}: {count}" for splits, count in _by_splits(found.pairs)]
    if found.cut:
        lines.append(f"only the first {MAX_PAIRS} near pairs were kept: lower --near")
    leaking = Counter((split, other) for _, _, _, split, other in _leaks(found))
    lines += [
        f"{count} stickers of {split} show what a sticker of {other} shows"
        for (split, other), count in leaking.most_common()
    ]
    if found.topics:
        topics = found.topics
        lines.append(
            f"topics: {topics['train']} in train, {topics['test']} in test, {topics['shared']} in both; "
            f"{topics['test_stickers_of_shared']} of {topics['test_stickers']} test stickers are of a topic "
            "that train knows too"
        )
        if topics["shared"]:
            lines.append(
                "so a figure on test does not tell how well a sticker set is judged that was never seen; "
                "--drop-leaks does not change that"
            )
    if found.errors:
        name, reason = found.errors[0]
        lines.append(f"{len(found.errors)} images could not be compared, the first is {name} ({reason})")
    return lines


def pair_line(pair: Pair) -> str:
    """A pair on one line."""
    return (
        f"{KINDS[pair.kind]}"
        + (f" ({pair.difference:.1f})" if pair.kind in ("near", "mirrored") else "")
        + f": {_named(pair.first)} = {_named(pair.second)}"
    )


def _named(sticker: Sticker) -> str:
    return f"{sticker.id} ({sticker.split}, {sticker.label_name or 'no label'})"


def _by_splits(pairs: Sequence[Pair]) -> list[tuple[str, int]]:
    counts = Counter(" and ".join(sorted({pair.first.split, pair.second.split})) for pair in pairs)
    return counts.most_common()


def _leaks(found: Duplicates) -> Iterator[tuple[str, str, str, str, str]]:
    splits = {sticker.id: sticker.split for sticker in found.corpus.stickers}
    for name, (other, kind) in found.leaks.items():
        yield name, other, kind, splits[name], splits[other]


def _cells(pair: Pair) -> list[Any]:
    ends = [[one.id, one.split, one.label_name, one.topic] for one in (pair.first, pair.second)]
    return [pair.kind, pair.difference, pair.bits, pair.across, pair.torn, *ends[0], *ends[1]]


def _write_csv(path: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_page(path: Path, found: Duplicates, shown: int) -> None:
    facts = {
        "mark": MARK.decode(),
        "title": found.corpus.card.title,
        "count": len(found.pairs),
        "lines": summary(found),
        "kinds": KINDS,
        "side": _PICTURE,
        "pairs": (_shown(found, pair) for pair in found.pairs[:shown]),
        "left": max(0, len(found.pairs) - shown),
    }
    write_page(path, "duplicates.html.j2", facts)


def _shown(found: Duplicates, pair: Pair) -> dict[str, Any]:
    ends = []
    for sticker in (pair.first, pair.second):
        try:
            image = decode_image(found.corpus.root, sticker.path, max_side=ImageTransform().max_side)
            image.thumbnail((_PICTURE, _PICTURE))
            ends.append({"sticker": sticker, "picture": picture_url(image), "size": image.size})
        except ImageError as error:
            ends.append({"sticker": sticker, "picture": None, "size": (0, 0), "trouble": str(error)})
    return {"pair": pair, "ends": ends}
