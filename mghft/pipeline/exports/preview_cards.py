"""The stickers of a preview, one after the other: rows of the shards, each with its reduced picture."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from mghft.pipeline.exports.preview_choice import ChosenRows
from mghft.pipeline.html import picture_url
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.progress import Advance
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import EMOJI_FIELD, IMAGE_FIELD, SCHEMA, read_shard

_RAW_SHOWN = 20_000
# Pictures that are decoded at a time; Pillow lets other threads work while it decodes, scales and encodes.
_BLOCK = 64
_THREADS = 4


class StickerCard(NamedTuple):
    """A sticker of a preview.

    Attributes:
        row: of the shard, without the embedded image.
        raw: beginning of the answer of a failed sticker.
        raw_remaining: characters of it that are left out.
        picture: its address, None where there is none.
        size: of the picture.
        trouble: why the picture is missing, or may be another.
    """

    row: Row
    raw: str | None
    raw_remaining: int
    picture: str | None
    size: tuple[int, int]
    trouble: str | None


def has_pictures(chosen: ChosenRows) -> bool:
    """Return whether a shard of the chosen rows holds the images themselves."""
    return any(IMAGE_FIELD.name in pq.read_schema(path).names for path, _ in chosen.shards)


def sticker_cards(
    chosen: ChosenRows, data: Path | None, transform: ImageTransform, progress: Advance | None = None
) -> Iterator[StickerCard]:
    """Yield the chosen stickers in order; one shard and the pictures of one block are in memory at a time.

    Args:
        chosen: which rows.
        data: root of the corpus, for pictures that are not in the shards; None goes without.
        transform: how the run saw its images, at the size of the page.
        progress: called with (stickers done, stickers in all).

    Raises:
        ValueError: a shard is damaged.
    """
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    report = progress or (lambda done, total: None)
    done, total = 0, chosen.count
    card = partial(_card, data=data, transform=transform)
    with ThreadPoolExecutor(threads) as pool:
        for path, numbers in chosen.shards:
            present = pq.read_schema(path).names
            further = [column.name for column in (EMOJI_FIELD, IMAGE_FIELD) if column.name in present]
            table = read_shard(path, [*SCHEMA.names, *further])
            if numbers[-1] >= len(table):
                raise ValueError(f"the shard {path} became shorter while it was read: write the page again")
            for block in _blocks(numbers):
                rows = table.take(block).to_pylist()
                # Without pictures there is nothing to wait for.
                yield from pool.map(card, rows) if data or IMAGE_FIELD.name in further else map(card, rows)
                done += len(block)
                report(done, total)


def _blocks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _BLOCK):
        yield numbers[start : start + _BLOCK]


def _card(row: Row, data: Path | None, transform: ImageTransform) -> StickerCard:
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
    return StickerCard(
        row=row,
        raw=None if raw is None else raw[:_RAW_SHOWN],
        raw_remaining=max(0, len(raw or "") - _RAW_SHOWN),
        picture=picture,
        size=size,
        trouble=trouble,
    )
