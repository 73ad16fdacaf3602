"""Fingerprints that tell whether two images are (nearly) the same: hashes of bytes and pixels, thumbnails.

The perceptual hash is ImageHash's pHash (64 bits of a DCT). It proposes pairs; thumbnails decide
(`duplicates.py`), since on flat symmetric art some of its bits are noise.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mghft.pipeline.audit.equal import pixels_sha256
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, read_image
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.progress import Advance
from mghft.pipeline.text import printable

SIDE = 32
# Nearer to the color of the corners than this is ground; beyond the second number all ink counts alike.
_GROUND = 24
_FULL = 96
_TRIMMED = 0.01
_TRIM_SIDE = 256


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of the images that can be read, one row each.

    Attributes:
        numbers: [n] place in the list of paths.
        content: SHA-256 of the bytes; pixels: of the decoded RGB picture.
        hashes: [n, 2] pHash of the whole picture and of the drawing without its ground.
        mirrored: [n, 2] the same of the picture mirrored left to right.
        thumbs: [n, 2, 32, 32, 3] whole and trimmed.
        errors: (place, reason) of the images that cannot.
    """

    numbers: NDArray[np.int64]
    content: list[str]
    pixels: list[str]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    errors: list[tuple[int, str]]


class ImageFingerprint(TypedDict):
    """Fingerprint of one image as it crosses between processes.

    Attributes:
        content, pixels: as in `Fingerprints`.
        hashes: whole, trimmed, and both mirrored.
        thumbs: the bytes of both thumbnails in base 64.
    """

    content: str
    pixels: str
    hashes: list[int]
    thumbs: str


def take_fingerprints(
    root: Path, paths: Sequence[str], *, workers: int | None = None, progress: Advance | None = None
) -> Fingerprints:
    """Decode every image once, in processes; 6 kB per image stay in memory."""
    results = map_images(root, paths, fingerprint, workers=workers, progress=progress)
    rows = [(n, result) for n, result in enumerate(results) if not isinstance(result, ImageError)]
    hashes = np.array([one["hashes"] for _, one in rows], dtype=np.uint64).reshape(-1, 4)
    thumbs = np.empty((len(rows), 2, SIDE, SIDE, 3), dtype=np.uint8)
    for row, (_, one) in enumerate(rows):
        content = base64.b64decode(one["thumbs"])
        thumbs[row] = np.frombuffer(content, np.uint8).reshape(thumbs.shape[1:])
    return Fingerprints(
        numbers=np.array([number for number, _ in rows], dtype=np.int64),
        content=[one["content"] for _, one in rows],
        pixels=[one["pixels"] for _, one in rows],
        hashes=hashes[:, :2],
        mirrored=hashes[:, 2:],
        thumbs=thumbs,
        errors=[(n, printable(str(one))) for n, one in enumerate(results) if isinstance(one, ImageError)],
    )


def fingerprint(root: Path, path: str) -> ImageFingerprint:
    """Return the fingerprint of one image: first frame, upright, in sRGB, transparency on white.

    Raises:
        ImageError: it cannot be read.
    """
    content = read_image(root, path)
    image = decode_bytes(content, ImageTransform(max_side=None))
    boxes = ((0.0, 0.0, float(image.width), float(image.height)), _drawing_box(image))
    # Twice the 32 pixels that the hash itself reduces to.
    crops = [image.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BOX, box=box) for box in boxes]
    thumbs = b"".join(crop.reduce(2).tobytes() for crop in crops)
    return {
        "content": hashlib.sha256(content).hexdigest(),
        "pixels": pixels_sha256(image.size, image.tobytes()),
        "hashes": [_perceptual_hash(crop) for crop in (*crops, *map(ImageOps.mirror, crops))],
        "thumbs": base64.b64encode(thumbs).decode(),
    }


def _perceptual_hash(image: Image.Image) -> int:
    bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes())


def _drawing_box(image: Image.Image) -> tuple[float, float, float, float]:
    """Return the box around all but 1 % of the ink at each side; the whole picture where there is hardly any.

    Ink is what differs from the color of the corners. A share of it is a steadier border than its first
    pixel, which JPEG blurs and a crop may take away.
    """
    small = image.copy()
    small.thumbnail((_TRIM_SIDE, _TRIM_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.int16)
    ground = np.median(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    distance = np.abs(pixels - ground).max(-1)
    ink: NDArray[Any] = np.where(distance > _GROUND, np.minimum(distance, _FULL), 0)
    if np.count_nonzero(ink) < 0.01 * ink.size:
        return (0.0, 0.0, float(image.width), float(image.height))
    ends = []
    for profile, length in ((ink.sum(0), image.width), (ink.sum(1), image.height)):
        share = np.concatenate([[0.0], np.cumsum(profile)]) / profile.sum()
        ends.append(np.interp([_TRIMMED, 1 - _TRIMMED], share, np.linspace(0, length, len(share))))
    (left, right), (top, bottom) = ends
    return float(left), float(top), float(right), float(bottom)
