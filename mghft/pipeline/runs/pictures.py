"""Whether a corpus' pictures are still those that a run described, by the hashes in its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import image_sha256
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.progress import Advance
from mghft.pipeline.runs.shards import iterate_shards
from mghft.pipeline.text import plural

# A second download under the same names moves nearly all of them, so that a sample of a large run shows it.
_LOOKED_AT = 1000
WAY_OUT = (
    "describe them into another folder, get the earlier files back, or go on as it is with "
    "--allow-changed-images"
)


def described_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every picture that a run described, by sticker id; failed rows count too.

    Rows without one (the file could not be read) are left out.

    Raises:
        ValueError: a shard is damaged.
    """
    hashes: dict[str, str] = {}
    for _, table in iterate_shards(folder, ["sticker_id", "image_sha256"]):
        columns = (table.column(name).to_pylist() for name in ("sticker_id", "image_sha256"))
        hashes.update((name, sha256) for name, sha256 in zip(*columns, strict=True) if sha256)
    return hashes


def compare_pictures(
    root: Path, stickers: Sequence[Sticker], hashes: Mapping[str, str], *, progress: Advance | None = None
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the ids whose picture is another than the one described, and (id, reason) of unreadable ones.

    Args:
        root: of the corpus.
        stickers: to be looked at; those without a hash are passed by.
        hashes: from `described_hashes`.
        progress: called with (images done, images in all).
    """
    stickers = [sticker for sticker in stickers if sticker.id in hashes]
    # Nothing is decoded, so nothing can crash.
    paths = [sticker.path for sticker in stickers]
    found = map_images(root, paths, image_sha256, workers=0, progress=progress)
    other: list[str] = []
    gone: list[tuple[str, str]] = []
    for sticker, sha256 in zip(stickers, found, strict=True):
        if isinstance(sha256, ImageError):
            gone.append((sticker.id, str(sha256)))
        elif sha256 != hashes[sticker.id]:
            other.append(sticker.id)
    return other, gone


def check_pictures(folder: Path, root: Path, stickers: Sequence[Sticker]) -> None:
    """Check that the pictures of stickers are those that a run described; of many, of a thousand of them.

    Args:
        folder: the run.
        root: of the corpus.
        stickers: that have a row in the run.

    Raises:
        ValueError: some are others; the message names how many and the first.
    """
    hashes = described_hashes(folder)
    stickers = [sticker for sticker in stickers if sticker.id in hashes]
    looked_at = stickers[:: -(-len(stickers) // _LOOKED_AT) or 1]
    other, _ = compare_pictures(root, looked_at, hashes)
    if other:
        raise ValueError(f"{other_pictures(other, len(looked_at), folder)}: {WAY_OUT}")


def other_pictures(other: Sequence[str], looked_at: int, folder: Path) -> str:
    """Return a sentence on stickers whose picture is not the one that was described."""
    return (
        f"of {plural(looked_at, 'picture')} compared with those described in {folder}, {len(other)} "
        f"{'is another' if len(other) == 1 else 'are others'} now, the first is of {other[0]!r}"
    )
