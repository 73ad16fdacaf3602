"""The images of splits, opened before torch is needed; what cannot be decoded is told, and left out."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.text import first_and_more, plural
from mghft.train.data.image_cache import FileImages, ImageSource, StickerImages
from mghft.train.data.shard_images import ShardImages, image_hashes
from mghft.train.options import Cache, Sources

_LOG = logging.getLogger(__name__)


def open_images(
    splits: Mapping[str, Sequence[Sticker]], root: Path, sources: Sources, cache: Cache, *, image_size: int
) -> dict[str, StickerImages]:
    """Open the images of splits; they come from the cache where they are in it.

    Args:
        splits: their stickers by name.
        root: of the corpus.
        image_size: side of the model's images in pixels.
    """
    return {
        name: StickerImages(
            source,
            # Twice the model's size: room for the random crop, and a bound for what the cache holds.
            short_side=2 * image_size,
            folder=cache.folder,
            limit_gb=cache.cache_gb,
            progress=cache.progress,
        )
        for name, source in _sources(splits, root, sources, cache).items()
    }


def check_usable(
    images: StickerImages, stickers: Sequence[Sticker], split: str, *, strict: bool
) -> list[int]:
    """Return the places of the stickers whose image can be decoded, and say which are left out.

    Args:
        images: of the stickers.
        stickers: of the split.
        split: its name.
        strict: an image that cannot be decoded is an error.

    Raises:
        ValueError: more than half of the images cannot be decoded, or (`strict`) one cannot.
    """
    if images.errors:
        named = first_and_more(
            (f"{stickers[index].id} ({reason})" for index, reason in images.errors.items()), separator="; "
        )
        count, whole = len(images.errors), plural(stickers, "image")
        sentence = f"{count} of {whole} of the split {split} cannot be decoded"
        if strict:
            raise ValueError(f"{sentence}: {named}: replace them, or train without --strict")
        if count > len(stickers) / 2:
            raise ValueError(f"{sentence}: {named}: check the corpus with 'mghft data check'")
        if os.environ.get("RANK", "0") == "0":
            _LOG.warning("note: %s", f"{sentence} and are left out: {named}")
    return [index for index in range(len(stickers)) if index not in images.errors]


def check_left_out(record: Path, left_out: Sequence[tuple[str, str]]) -> None:
    """Check that a run that goes on leaves the same stickers out as before.

    Args:
        record: file of the run folder that names them (`write_left_out`); absent where there are none.
        left_out: id and reason of those of today.

    Raises:
        ValueError: they are others.
    """
    before = set()
    if record.is_file():
        with record.open(encoding="utf-8", newline="") as file:
            before = {row["name"] for row in csv.DictReader(file)}
    if other := sorted(before ^ {name for name, _ in left_out}):
        raise ValueError(
            f"{plural(other, 'image')} could be decoded when this run began and cannot now, or the other way "
            f"round: {first_and_more(other)}: put the earlier files back, or give another --out"
        )


def _sources(
    splits: Mapping[str, Sequence[Sticker]], root: Path, sources: Sources, cache: Cache
) -> dict[str, ImageSource]:
    if sources.images == "files":
        return {name: FileImages(root, stickers) for name, stickers in splits.items()}
    assert sources.descriptions is not None
    hashes = image_hashes(sources.descriptions)
    return {
        name: ShardImages(sources.descriptions, stickers, hashes, folder=cache.folder)
        for name, stickers in splits.items()
    }
