"""HEIC images, as phones take them, opened by pillow-heif (libheif); decoded as any picture of Pillow's."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from mghft.pipeline.images.extra import require


def open_heif(content: bytes) -> Image.Image:
    """Open a HEIC image; no pixel is decoded yet. Of several pictures inside, the primary one is shown.

    Raises:
        ImageError: the library is absent.
    """
    library = require("pillow_heif", "pillow-heif", "a HEIC image")
    # Decoders of several threads keep memory for each of them.
    library.options.DECODE_THREADS = 1
    image: Image.Image = library.as_plugin.HeifImageFile(BytesIO(content))
    return image
