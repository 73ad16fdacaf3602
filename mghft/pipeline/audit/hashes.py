"""What makes two images (nearly) the same: hashes of bytes and pixels, perceptual hashes, thumbnails.

The perceptual hash is ImageHash's pHash (64 bits of a DCT). It proposes pairs; thumbnails decide
(`duplicates.py`), since on flat symmetric art some of its bits are noise.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.images.parallel import Answer, Progress, map_images
from mghft.pipeline.text import printable

SIDE = 32
# Nearer to the colour of the corners than this is ground; beyond the second number all ink counts alike.
_GROUND = 24
_FULL = 96
_TRIMMED = 0.01
_TRIM_SIDE = 256


@dataclass(frozen=True)
class Prints:
    """Fingerprints of images that could be read, one row each.

    Attributes:
        numbers: [n] place in the list of paths.
        content: SHA-256 of the bytes; pixels: of the decoded RGB picture.
        hashes: [n, 2] pHash of the whole picture and of the drawing without its ground.
        mirrored: [n, 2] the same of the picture turned left to right.
        thumbs: [n, 2, 32, 32, 3] whole and trimmed.
        errors: (place, reason) of those that could not.
    """

    numbers: NDArray[np.int64]
    content: list[str]
    pixels: list[str]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    thumbs: NDArray[np.uint8]
    errors: list[tuple[int, str]]


def take_prints(
    root: Path, paths: list[str], *, workers: int | None = None, progress: Progress | None = None
) -> Prints:
    """Decodes every image once, in processes; 6 kB per image stay in memory."""
    answers = map_images(root, paths, "mghft.pipeline.audit.hashes:look", workers=workers, progress=progress)
    numbers = [number for number, answer in enumerate(answers) if "error" not in answer]
    good = [answers[number] for number in numbers]
    hashes = np.array([answer["hashes"] for answer in good], dtype=np.uint64).reshape(-1, 4)
    thumbs = np.empty((len(good), 2, SIDE, SIDE, 3), dtype=np.uint8)
    for row, answer in enumerate(good):
        content = base64.b64decode(answer["thumbs"])
        thumbs[row] = np.frombuffer(content, np.uint8).reshape(thumbs.shape[1:])
    return Prints(
        numbers=np.array(numbers, dtype=np.int64),
        content=[answer["content"] for answer in good],
        pixels=[answer["pixels"] for answer in good],
        hashes=hashes[:, :2],
        mirrored=hashes[:, 2:],
        thumbs=thumbs,
        errors=[(n, answer["error"]) for n, answer in enumerate(answers) if "error" in answer],
    )


def look(root: Path, path: str) -> Answer:
    """The fingerprints of one image: first frame, upright, in sRGB, transparency on white."""
    try:
        content = read_image(root, path)
        image = decode_bytes(content, ImageTransform(max_side=None))
    except ImageError as error:
        return {"error": printable(str(error))}
    digest = hashlib.sha256(f"{image.width}x{image.height}\n".encode() + image.tobytes())
    return {
        "content": hashlib.sha256(content).hexdigest(),
        "pixels": digest.hexdigest(),
        **perceive(image),
    }


def perceive(image: Image.Image) -> Answer:
    """Perceptual hashes and thumbnails of an RGB picture."""
    boxes = ((0.0, 0.0, float(image.width), float(image.height)), _drawing(image))
    # Twice the 32 pixels that the hash itself reduces to.
    parts = [image.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BOX, box=box) for box in boxes]
    thumbs = [part.reduce(2) for part in parts]
    turned = [ImageOps.mirror(part) for part in parts]
    return {
        "hashes": [_hash(part) for part in (*parts, *turned)],
        "thumbs": base64.b64encode(b"".join(thumb.tobytes() for thumb in thumbs)).decode(),
    }


def _hash(image: Image.Image) -> int:
    bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes())


def _drawing(image: Image.Image) -> tuple[float, float, float, float]:
    """The box that holds all but 1 % of the ink at each side; the whole picture where there is hardly any.

    Ink is what differs from the colour of the corners. A share of it is a steadier border than its first
    pixel, which JPEG blurs and a crop may take away.
    """
    small = image.copy()
    small.thumbnail((_TRIM_SIDE, _TRIM_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.int16)
    ground = np.median(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], axis=0)
    far = np.abs(pixels - ground).max(-1)
    ink: NDArray[Any] = np.where(far > _GROUND, np.minimum(far, _FULL), 0)
    if np.count_nonzero(ink) < 0.01 * ink.size:
        return (0.0, 0.0, float(image.width), float(image.height))
    ends = []
    for profile, length in ((ink.sum(0), image.width), (ink.sum(1), image.height)):
        share = np.concatenate([[0.0], np.cumsum(profile)]) / profile.sum()
        ends.append(np.interp([_TRIMMED, 1 - _TRIMMED], share, np.linspace(0, length, len(share))))
    (left, right), (top, bottom) = ends
    return float(left), float(top), float(right), float(bottom)
