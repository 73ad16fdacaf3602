"""One image of a corpus, loaded, or the reason why there is none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import decode_bytes, read_image
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.text import valid_utf8


@dataclass(frozen=True)
class Loaded:
    """A sticker's image, or why there is none.

    Attributes:
        image: RGB, decoded.
        sha256: of the bytes of its file, None where they cannot be read.
        content: these bytes, where they are to be kept.
        error: why there is no image.
    """

    image: Image.Image | None
    sha256: str | None
    content: bytes | None
    error: str | None = None


def load_image(root: Path, path: str, transform: ImageTransform, keep: bool) -> Loaded:
    """Read and decode an image; never raises for what is wrong with the file.

    Args:
        root: of the corpus.
        path: of the image, below the root.
        transform: how it is decoded.
        keep: whether the bytes of the file are kept, to be embedded.
    """
    content = None
    try:
        content = read_image(root, path)
        image = decode_bytes(content, transform)
    except ImageError as error:
        sha256 = None if content is None else hashlib.sha256(content).hexdigest()
        return Loaded(None, sha256, content if keep else None, valid_utf8(str(error)))
    return Loaded(image, hashlib.sha256(content).hexdigest(), content if keep else None)
