"""A run as one web page to look at: pictures, views, reasons of failure, filters; the page loads nothing.

Whatever comes from the corpus or the model is escaped, and the page's policy allows no script but its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mghft.pipeline.html import check_page, picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import IMAGE_FIELD, SCHEMA, read_shard, shard_paths
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.views import VIEWS

DEFAULT_LIMIT = 500
MARK = b'<meta name="generator" content="mghft preview">'
_RAW_SHOWN = 20_000
_SIZES = (32, 512)
_REASONS_SHOWN = 8


@dataclass
class Preview:
    """A written page; `notes` are what its reader should know."""

    path: Path
    shown: int
    notes: list[str]


@dataclass
class _Chosen:
    """The stickers of a page: row numbers by shard, and what the filters offer."""

    shards: dict[Path, list[int]] = field(default_factory=dict)
    candidates: int = 0
    count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0


def write_preview(
    folder: Path,
    *,
    data: Path | None = None,
    out: Path | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    only: str | None = None,
    view_size: int = 160,
) -> Preview:
    """Writes the page of a run; one shard is in memory at a time, and the page is written as it grows.

    Args:
        folder: the run.
        data: root of the corpus, for pictures that are not in the shards.
        out: the page, default preview.html in the run folder; an older page is replaced, another file never.
        limit: at most so many stickers; None means 500, or all of a sample.
        sample: a seeded sample of so many; it depends on ids and seed alone.
        only: "failed" or "ok", None for both.
        view_size: longer side of a picture in pixels.

    Raises:
        FileNotFoundError: the folder is no run, or the corpus does not exist.
        ValueError: an option has no meaning, a shard is damaged, or `out` is a file of another kind.
    """
    for name, count in (("--limit", limit), ("--sample", sample)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
    if only not in (None, "failed", "ok"):
        raise ValueError(f"--only is {only!r}: give failed or ok")
    if not _SIZES[0] <= view_size <= _SIZES[1]:
        raise ValueError(f"--view-size is {view_size}: give {_SIZES[0]} to {_SIZES[1]} pixels")
    if data is not None and not data.is_dir():
        raise FileNotFoundError(
            f"the data folder {data} does not exist: give the corpus of the run with --data"
        )
    manifest, status = read_manifest(folder), run_status(folder)
    path = folder / "preview.html" if out is None else out
    check_page(path, MARK, "preview")
    if limit is None and sample is None:
        limit = DEFAULT_LIMIT
    chosen = _choose(folder, limit=limit, sample=sample, seed=seed, only=only)
    embedded = any(IMAGE_FIELD.name in pq.read_schema(shard).names for shard in chosen.shards)
    notes = _notes(chosen, only, sample, pictures=embedded or data is not None)
    transform = ImageTransform.model_validate({**manifest["image"], "max_side": view_size})
    facts = {
        "manifest": manifest,
        "status": status,
        "reasons": list(status["failures"].items())[:_REASONS_SHOWN],
        "more_reasons": max(0, len(status["failures"]) - _REASONS_SHOWN),
        "chosen": chosen,
        "notes": notes,
        "pictures": embedded or data is not None,
        "views": VIEWS,
        "box": max(48, round(0.7 * view_size)),
        "cards": _cards(chosen, data, transform),
        "mark": MARK.decode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, "preview.html.j2", facts)
    return Preview(path, chosen.count, notes)


def _choose(folder: Path, *, limit: int | None, sample: int | None, seed: int, only: str | None) -> _Chosen:
    """Reads ids and classes of all rows and picks; the order stays that of the shards."""
    found: list[tuple[str, Path, int, str, str, str | None]] = []
    for path in shard_paths(folder):
        columns = read_shard(path, ["sticker_id", "status", "split", "label_name"]).to_pydict().values()
        for number, (name, status, split, label) in enumerate(zip(*columns, strict=True)):
            if only is None or status == only:
                found.append((name, path, number, status, split, label))
    chosen = _Chosen(candidates=len(found))
    if sample is not None:
        order = sorted(range(len(found)), key=lambda i: found[i][0])
        drawn = np.random.default_rng(seed).permutation(len(order))[:sample]
        found = [found[i] for i in sorted(order[j] for j in drawn)]
    for _, path, number, status, split, label in found[:limit]:
        chosen.shards.setdefault(path, []).append(number)
        chosen.count += 1
        chosen.statuses[status] += 1
        chosen.splits[split] += 1
        if label is None:
            chosen.unlabelled += 1
        else:
            chosen.labels[label] += 1
    return chosen


def _notes(chosen: _Chosen, only: str | None, sample: int | None, *, pictures: bool) -> list[str]:
    notes = []
    left = chosen.candidates - chosen.count
    if left:
        kind = "stickers" if only is None else f"{only} stickers"
        if sample is None:
            how, advice = "the first", "raise --limit, or draw some with --sample"
        else:
            how, advice = "a sample", "raise --sample (and --limit), or draw others with --seed"
        notes.append(
            f"{chosen.count} of {chosen.candidates} {kind} are on the page ({how}), "
            f"{left} are left out: {advice}"
        )
    if not chosen.count:
        notes.append("no sticker of the run was chosen")
    elif not pictures:
        notes.append("the page has no pictures: the run's shards hold none, so give the corpus with --data")
    return notes


def _cards(chosen: _Chosen, data: Path | None, transform: ImageTransform) -> Iterator[dict[str, Any]]:
    for path, numbers in chosen.shards.items():
        columns = [*SCHEMA.names]
        if IMAGE_FIELD.name in pq.read_schema(path).names:
            columns.append(IMAGE_FIELD.name)
        table = read_shard(path, columns)
        for number in numbers:
            # A run that goes on while we read may have replaced the shard by a shorter one.
            if number < table.num_rows:
                yield _card(table.slice(number, 1).to_pylist()[0], data, transform)


def _card(row: dict[str, Any], data: Path | None, transform: ImageTransform) -> dict[str, Any]:
    raw = row["raw"] if row["status"] == "failed" else None
    picture, size, trouble = None, (0, 0), None
    try:
        content = (row.get(IMAGE_FIELD.name) or {}).get("bytes")
        if content is None and data is not None:
            content = read_image(data, row["path"])
            if row["image_sha256"] and hashlib.sha256(content).hexdigest() != row["image_sha256"]:
                trouble = "this picture is not the one that was described: the file has changed since"
        if content is not None:
            image = decode_bytes(content, transform)
            picture, size = picture_url(image), image.size
    except ImageError as error:
        trouble = str(error)
    return {
        **{key: value for key, value in row.items() if key != IMAGE_FIELD.name},
        "raw": None if raw is None else raw[:_RAW_SHOWN],
        "raw_left": max(0, len(raw or "") - _RAW_SHOWN),
        "picture": picture,
        "size": size,
        "trouble": trouble,
    }
