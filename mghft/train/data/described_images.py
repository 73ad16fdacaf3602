"""Whether the images that are trained on are those that the descriptions speak of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mghft.pipeline.runs.pictures import described_hashes, other_pictures
from mghft.train.data.splits import Split


def changed_images(splits: Mapping[str, Split], descriptions: Path) -> str | None:
    """Return a sentence if images of splits are not those that were described, None if they are.

    It names how many and the first. Images that are not cached are not read for this.

    Args:
        splits: whose images are files of the corpus.
        descriptions: run folder of `mghft describe`.
    """
    described = described_hashes(descriptions)
    other: list[str] = []
    compared = 0
    for split in splits.values():
        hashes = split.images.content_hashes() or []
        for sticker, sha256 in zip(split.stickers, hashes, strict=False):
            if sha256 is not None and sticker.id in described:
                compared += 1
                other += [sticker.id] if sha256 != described[sticker.id] else []
    return other_pictures(other, compared, descriptions) if other else None
