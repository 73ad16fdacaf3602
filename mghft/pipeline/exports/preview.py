"""A run as one web page to look at: pictures, views, reasons of failure, filters; the page loads nothing.

Whatever comes from the corpus or the model is escaped, and the page's policy allows no script but its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from mghft.pipeline.corpora.archives import pack_folder
from mghft.pipeline.html import check_page, picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import EMOJI_FIELD, IMAGE_FIELD, SCHEMA, read_shard, shard_paths
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.views import VIEWS

DEFAULT_LIMIT = 500
MARK = b'<meta name="generator" content="mghft preview">'
_RAW_SHOWN = 20_000
_SIZES = (32, 512)
_REASONS_SHOWN = 8


@dataclass(frozen=True)
class PreviewOptions:
    """The stickers of a page and the size of their pictures.

    Attributes:
        limit: at most so many stickers; None means 500, or all of a sample.
        sample: a seeded sample of so many; it depends on ids and seed alone.
        seed: of the sample.
        only: "failed" or "ok", None for both.
        view_size: longer side of a picture in pixels.

    Raises:
        ValueError: an option has no meaning.
    """

    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    only: str | None = None
    view_size: int = 160

    def __post_init__(self) -> None:
        for name, count in (("--limit", self.limit), ("--sample", self.sample)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1, not {count}")
        if self.only not in (None, "failed", "ok"):
            raise ValueError(f"--only is {self.only!r}: give failed or ok")
        if not _SIZES[0] <= self.view_size <= _SIZES[1]:
            raise ValueError(f"--view-size is {self.view_size}: give {_SIZES[0]} to {_SIZES[1]} pixels")


class Preview(NamedTuple):
    """A written page; `notes` are what its reader should know."""

    path: Path
    shown: int
    notes: list[str]


class _Candidate(NamedTuple):
    """A row that may be on the page, and its place."""

    shard: Path
    number: int
    sticker_id: str
    status: str
    split: str
    label: str | None


@dataclass
class _Chosen:
    """The stickers of a page: row numbers by shard, and what the filters offer."""

    candidates: int
    shards: dict[Path, list[int]] = field(default_factory=dict)
    count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: int = 0

    def add(self, candidate: _Candidate) -> None:
        self.shards.setdefault(candidate.shard, []).append(candidate.number)
        self.count += 1
        self.statuses[candidate.status] += 1
        self.splits[candidate.split] += 1
        if candidate.label is None:
            self.unlabelled += 1
        else:
            self.labels[candidate.label] += 1


class _Card(NamedTuple):
    """A sticker on the page; `trouble` is why its picture is missing or may be another."""

    row: Row
    raw: str | None
    raw_remaining: int
    picture: str | None
    size: tuple[int, int]
    trouble: str | None


def write_preview(
    folder: Path,
    options: PreviewOptions = PreviewOptions(),
    *,
    data: Path | None = None,
    out: Path | None = None,
) -> Preview:
    """Write the page of a run; one shard is in memory at a time, and the page is written as it grows.

    Args:
        folder: the run.
        options: which stickers, and how large.
        data: root of the corpus, or a sticker pack's archive, for pictures that are not in the shards.
        out: the page, default preview.html in the run folder; an older page is replaced, another file never.

    Raises:
        FileNotFoundError: the folder is not a run folder, or the corpus does not exist.
        ValueError: a shard is damaged, or `out` is a file of another kind.
    """
    if data is not None and not data.exists():
        raise FileNotFoundError(
            f"the data folder {data} does not exist: give the corpus of the run with --data"
        )
    data = None if data is None else pack_folder(data)
    manifest, status = read_manifest(folder), run_status(folder)
    path = folder / "preview.html" if out is None else out
    check_page(path, MARK, "preview")
    chosen = _choose(folder, options)
    embedded = any(IMAGE_FIELD.name in pq.read_schema(shard).names for shard in chosen.shards)
    pictures = embedded or data is not None
    notes = _notes(chosen, options, pictures)
    transform = ImageTransform.model_validate({**manifest["image"], "max_side": options.view_size})
    facts = {
        "manifest": manifest,
        "status": status,
        "reasons": list(status["failures"].items())[:_REASONS_SHOWN],
        "more_reasons": max(0, len(status["failures"]) - _REASONS_SHOWN),
        "chosen": chosen,
        "notes": notes,
        "pictures": pictures,
        "views": VIEWS,
        "box": max(48, round(0.7 * options.view_size)),
        "cards": _cards(chosen, data, transform),
        "mark": MARK.decode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, "preview.html.j2", facts)
    return Preview(path, chosen.count, notes)


def _choose(folder: Path, options: PreviewOptions) -> _Chosen:
    """Read ids and classes of all rows and choose; the order stays that of the shards."""
    candidates: list[_Candidate] = []
    for path in shard_paths(folder):
        columns = read_shard(path, ["sticker_id", "status", "split", "label_name"]).to_pydict().values()
        for number, cells in enumerate(zip(*columns, strict=True)):
            candidates.append(_Candidate(path, number, *cells))
    if options.only is not None:
        candidates = [candidate for candidate in candidates if candidate.status == options.only]
    chosen = _Chosen(len(candidates))
    limit = options.limit
    if options.sample is not None:
        order = sorted(range(len(candidates)), key=lambda index: candidates[index].sticker_id)
        drawn = np.random.default_rng(options.seed).permutation(len(order))[: options.sample]
        candidates = [candidates[index] for index in sorted(order[place] for place in drawn)]
    elif limit is None:
        limit = DEFAULT_LIMIT
    for candidate in candidates[:limit]:
        chosen.add(candidate)
    return chosen


def _notes(chosen: _Chosen, options: PreviewOptions, pictures: bool) -> list[str]:
    notes = []
    left_out = chosen.candidates - chosen.count
    if left_out:
        kind = "stickers" if options.only is None else f"{options.only} stickers"
        if options.sample is None:
            how, advice = "the first", "raise --limit, or draw some with --sample"
        else:
            how, advice = "a sample", "raise --sample (and --limit), or draw others with --seed"
        notes.append(
            f"{chosen.count} of {chosen.candidates} {kind} are on the page ({how}), "
            f"{left_out} are left out: {advice}"
        )
    if not chosen.count:
        notes.append("no sticker of the run was chosen")
    elif not pictures:
        notes.append("the page has no pictures: the run's shards hold none, so give the corpus with --data")
    return notes


def _cards(chosen: _Chosen, data: Path | None, transform: ImageTransform) -> Iterator[_Card]:
    for path, numbers in chosen.shards.items():
        present = pq.read_schema(path).names
        further = [column.name for column in (EMOJI_FIELD, IMAGE_FIELD) if column.name in present]
        table = read_shard(path, [*SCHEMA.names, *further])
        for number in numbers:
            # A run that goes on while we read may have replaced the shard by a shorter one.
            if number < table.num_rows:
                yield _card(table.slice(number, 1).to_pylist()[0], data, transform)


def _card(row: Row, data: Path | None, transform: ImageTransform) -> _Card:
    raw = row["raw"] if row["status"] == "failed" else None
    picture, size, trouble = None, (0, 0), None
    try:
        embedded = row.get("image")
        content = embedded["bytes"] if embedded else None
        if content is None and data is not None:
            content = read_image(data, row["path"])
            if row["image_sha256"] and hashlib.sha256(content).hexdigest() != row["image_sha256"]:
                trouble = "this picture is not the one that was described: the file has changed since"
        if content is not None:
            image = decode_bytes(content, transform)
            picture, size = picture_url(image), image.size
    except ImageError as error:
        trouble = str(error)
    return _Card(
        row=row,
        raw=None if raw is None else raw[:_RAW_SHOWN],
        raw_remaining=max(0, len(raw or "") - _RAW_SHOWN),
        picture=picture,
        size=size,
        trouble=trouble,
    )
