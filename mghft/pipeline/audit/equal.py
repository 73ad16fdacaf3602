"""Stickers that show the very same picture: equal decoded pixels, whatever their files are called or hold."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from mghft.pipeline.corpora.sticker import Corpus
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, read_image
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.progress import Advance


def equal_pictures(
    corpus: Corpus, *, workers: int | None = None, progress: Advance | None = None
) -> list[list[str]]:
    """Return the ids of stickers with equal pictures, one list per picture that occurs more than once.

    Every image is decoded: first frame, upright, transparency on white. Of files that cannot be decoded,
    those of equal bytes belong together.

    Args:
        corpus: whose images they are.
        workers: processes that decode; None takes one per core.
        progress: called with (images done, images in all).
    """
    paths = [sticker.path for sticker in corpus.stickers]
    digests = map_images(corpus.root, paths, picture_digest, workers=workers, progress=progress)
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for sticker, digest in zip(corpus.stickers, digests, strict=True):
        if not isinstance(digest, ImageError):
            groups[digest].append(sticker.id)
    return [ids for ids in groups.values() if len(ids) > 1]


def pixels_sha256(image_size: tuple[int, int], pixels: bytes) -> str:
    """Return the SHA-256 of a decoded RGB picture: its size, then its pixels."""
    width, height = image_size
    return hashlib.sha256(f"{width}x{height}\n".encode() + pixels).hexdigest()


def picture_digest(root: Path, path: str) -> str:
    """Return what tells one picture from another: a hash of its pixels, of its bytes where it has none.

    Raises:
        ImageError: the file cannot be read.
    """
    content = read_image(root, path)
    try:
        image = decode_bytes(content, ImageTransform(max_side=None))
    except ImageError:
        return f"bytes {hashlib.sha256(content).hexdigest()}"
    return pixels_sha256(image.size, image.tobytes())
