"""Decoded stickers, kept once on disk as one memory-mapped file, so that no epoch decodes an image again.

Where the bytes come from is the source's business: files of the corpus (here) or shards (`shard_images`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.files import write_atomically, write_text
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.images.extra import is_complete, is_lacking_library
from mghft.pipeline.progress import bar
from mghft.pipeline.text import printable

_CHUNK = 128
# Raised when the same file decodes to other pixels than before, so that no old cache is taken for a new one.
_DECODER = 3
# The engine's bound of the longer side is not the trainer's, which bounds the shorter one.
_FULL_SIZE = ImageTransform(max_side=None)


class ImageSource(Protocol):
    """Encoded images of some stickers by index."""

    def __len__(self) -> int: ...
    def facts(self) -> list[Any]:
        """Return what tells these images from others, for a fingerprint."""
        ...

    def read(self, index: int) -> bytes:
        """Return the bytes of an image's file; raises ImageError where there are none to decode."""
        ...

    def name(self, index: int) -> str:
        """Return where the image lies, for messages: 'IMAGE below FOLDER'."""
        ...


class FileImages:
    """The image files of a corpus."""

    def __init__(self, root: Path, stickers: Sequence[Sticker]) -> None:
        self._root = root
        self._paths = [sticker.path for sticker in stickers]

    def __len__(self) -> int:
        return len(self._paths)

    def facts(self) -> list[Any]:
        """Return the folder, and name, size and time of every file; -1 for one that is missing."""
        stats: list[tuple[str, int, int]] = []
        for path in self._paths:
            try:
                stat = (self._root / path).stat()
            except (OSError, ValueError):
                stats.append((path, -1, -1))
                continue
            stats.append((path, stat.st_size, stat.st_mtime_ns))
        return [str(self._root.resolve()), stats]

    def read(self, index: int) -> bytes:
        """Return the bytes of the file; raises ImageError as `read_image`."""
        return read_image(self._root, self._paths[index])

    def name(self, index: int) -> str:
        """Return where the image lies, for messages."""
        return f"{printable(self._paths[index])} below {self._root}"


class _Written(NamedTuple):
    """An image in the cache: height and width, hash of its file's bytes; or why there is none."""

    shape: tuple[int, int]
    sha256: str | None
    error: str | None


def _may_read_more(index: Path) -> bool:
    """Return whether a cache left images out for want of a library that may be installed since."""
    return any(is_lacking_library(reason) for reason in _read_index(index)[1].values()) and is_complete()


class StickerImages:
    """The images of some stickers by index, short side at most `short_side` pixels.

    A corpus whose decoded images would pass the limit is decoded from its source every time instead; the
    pixels are the same.

    Attributes:
        errors: why an image cannot be decoded, by index; known where images are cached, else an image raises
            when it is asked for.
    """

    def __init__(
        self, source: ImageSource, *, short_side: int, folder: Path, limit_gb: float, progress: bool = False
    ) -> None:
        """Open the cache in `folder`, or write it.

        Args:
            progress: shown on stderr while it is written.
        """
        self.errors: dict[int, str] = {}
        self._chosen: list[int] | None = None
        self._source = source
        self._short_side = short_side
        self._transform = _FULL_SIZE
        self._shapes: list[tuple[int, int]] = []
        self._offsets: list[int] = []
        self._file: Path | None = None
        self._index: Path | None = None
        self._pixels: NDArray[np.uint8] | None = None
        name = f"images-{self.fingerprint()[:24]}"
        data, index = folder / f"{name}.bin", folder / f"{name}.json"
        if not (data.is_file() and index.is_file()) or _may_read_more(index):
            if self._estimated_bytes() > limit_gb * 1e9:
                return
            folder.mkdir(parents=True, exist_ok=True)
            self._write(data, index, progress)
        self._shapes, self.errors = _read_index(index)
        sizes = [h * w * 3 for h, w in self._shapes]
        self._offsets = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]
        if len(sizes) != len(source) or data.stat().st_size != self._offsets[-1]:
            data.unlink()
            index.unlink()
            raise ValueError(
                f"the image cache {data} was damaged and has been removed: start the command again"
            )
        self._file, self._index = data, index

    def __len__(self) -> int:
        return len(self._source) if self._chosen is None else len(self._chosen)

    def without_errors(self) -> StickerImages:
        """Return the images that can be decoded alone, in their order; itself where all can."""
        if not self.errors:
            return self
        usable = copy(self)
        usable._chosen = [index for index in range(len(self._source)) if index not in self.errors]
        usable.errors = {}
        return usable

    def content_hashes(self) -> list[str | None] | None:
        """Return the SHA-256 of the bytes of every image; None where images are not cached.

        A cache of before hashes were kept gets them now, by one reading of the files.
        """
        if self._index is None:
            return None
        content = json.loads(self._index.read_text())
        if len(content.get("sha256", ())) != len(self._source):
            content["sha256"] = [self._hash(index) for index in range(len(self._source))]
            write_text(self._index, json.dumps(content))
        hashes: list[str | None] = content["sha256"]
        return hashes if self._chosen is None else [hashes[index] for index in self._chosen]

    def _hash(self, index: int) -> str | None:
        try:
            return hashlib.sha256(self._source.read(index)).hexdigest()
        except ImageError:
            return None

    def __getitem__(self, index: int) -> Image.Image:
        if self._chosen is not None:
            index = self._chosen[index]
        if self._file is None:
            return self._decode(index)
        # Opened by the process that reads, so that workers do not share a handle.
        if self._pixels is None:
            self._pixels = np.memmap(self._file, dtype=np.uint8, mode="r")
        height, width = self._shapes[index]
        start = self._offsets[index]
        return Image.fromarray(
            np.array(self._pixels[start : self._offsets[index + 1]]).reshape(height, width, 3)
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pixels": None}

    def decode_on(self, background: tuple[int, int, int]) -> None:
        """Show transparency on another colour from now on; what is kept on disk is not read any more."""
        self._transform = _FULL_SIZE.model_copy(update={"background": background})
        self._file = self._pixels = None

    def _decode(self, index: int) -> Image.Image:
        """Return an image that is not cached.

        Raises:
            ValueError: it cannot be decoded; the message names it.
        """
        try:
            return self._read(index)[0]
        except ImageError as error:
            raise ValueError(
                f"the image {self._source.name(index)} cannot be decoded ({error}): "
                "replace it, or take the sticker out of the corpus"
            ) from None

    def _read_or_reason(self, index: int) -> tuple[Image.Image, str] | str:
        try:
            return self._read(index)
        except ImageError as error:
            return printable(str(error))

    def _read(self, index: int) -> tuple[Image.Image, str]:
        """Return an image, and the SHA-256 of the bytes that it was decoded from."""
        content = self._source.read(index)
        image = shrink(decode_bytes(content, self._transform), self._short_side)
        return image, hashlib.sha256(content).hexdigest()

    def fingerprint(self) -> str:
        """Return a hash of what decides the pixels: the files, and how large they are kept."""
        facts = json.dumps([_DECODER, self._short_side, *self._source.facts()])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _estimated_bytes(self) -> float:
        count = len(self._source)
        sample = [self._read_or_reason(index) for index in range(0, count, max(1, count // 32))]
        images = [found[0] for found in sample if not isinstance(found, str)]
        return sum(image.width * image.height * 3 for image in images) / max(1, len(images)) * count

    def _write(self, data: Path, index: Path, progress: bool) -> None:
        """Write pixels first, index last, so that a build cut short leaves nothing that looks complete."""
        written: list[_Written] = []
        write_atomically(data, lambda file: written.extend(self._write_pixels(file, progress)))
        content = {
            "shapes": [one.shape for one in written],
            "sha256": [one.sha256 for one in written],
            "errors": {number: one.error for number, one in enumerate(written) if one.error is not None},
        }
        write_text(index, json.dumps(content))

    def _write_pixels(self, file: IO[bytes], progress: bool) -> list[_Written]:
        written: list[_Written] = []
        count = len(self._source)
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            bar("image", "reading images", progress) as advance,
        ):
            for start in range(0, count, _CHUNK):
                chunk = range(start, min(start + _CHUNK, count))
                for found in pool.map(self._read_or_reason, chunk):
                    if isinstance(found, str):
                        written.append(_Written((0, 0), None, found))
                        continue
                    image, sha256 = found
                    written.append(_Written((image.height, image.width), sha256, None))
                    file.write(np.asarray(image, dtype=np.uint8).tobytes())
                advance(chunk.stop, count)
        return written


def shrink(image: Image.Image, short_side: int) -> Image.Image:
    """Return an image whose short side is at most so many pixels, bicubic."""
    short = min(image.size)
    if short <= short_side:
        return image
    scale = short_side / short
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)


def _read_index(index: Path) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """Return height and width of every image, and the reasons of those that cannot be decoded.

    Nothing is returned where the file is damaged.
    """
    try:
        content = json.loads(index.read_text())
        shapes = [(height, width) for height, width in content["shapes"]]
        return shapes, {int(number): reason for number, reason in content.get("errors", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], {}
