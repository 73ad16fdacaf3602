"""Decoded stickers, kept once on disk as one memory-mapped file, so that no epoch decodes an image again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.corpus import Sticker, printable
from pipeline.images import ImageError, decode_image

_CHUNK = 128
# Raised when the same file decodes to other pixels than before, so that no old cache is taken for a new one.
_DECODER = 2


class StickerImages:
    """The images of some stickers by index, short side at most `short_side` pixels.

    A corpus whose decoded images would pass the limit is decoded from its files every time instead; the
    pixels are the same.
    """

    def __init__(
        self, root: Path, stickers: Sequence[Sticker], *, short_side: int, folder: Path, limit_gb: float
    ) -> None:
        """Opens the cache in `folder`, or writes it.

        Raises:
            ValueError: an image cannot be decoded; the message names it.
        """
        self._root = root
        self._paths = [sticker.path for sticker in stickers]
        self._short_side = short_side
        self._shapes: list[tuple[int, int]] = []
        self._offsets: list[int] = []
        self._file: Path | None = None
        self._pixels: NDArray[np.uint8] | None = None
        name = f"images-{self._fingerprint()[:24]}"
        data, index = folder / f"{name}.bin", folder / f"{name}.json"
        if not (data.is_file() and index.is_file()):
            if self._estimated_bytes() > limit_gb * 1e9:
                return
            folder.mkdir(parents=True, exist_ok=True)
            self._write(data, index)
        self._shapes = [(h, w) for h, w in json.loads(index.read_text())["shapes"]]
        sizes = [h * w * 3 for h, w in self._shapes]
        self._offsets = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]
        if len(sizes) != len(self._paths) or data.stat().st_size != self._offsets[-1]:
            data.unlink()
            index.unlink()
            raise ValueError(
                f"the image cache {data} was damaged and has been removed: start the command again"
            )
        self._file = data

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Image.Image:
        if self._file is None:
            return self._decode(self._paths[index])
        if self._pixels is None:  # opened by the process that reads, so that workers do not share a handle
            self._pixels = np.memmap(self._file, dtype=np.uint8, mode="r")
        height, width = self._shapes[index]
        start = self._offsets[index]
        return Image.fromarray(
            np.array(self._pixels[start : self._offsets[index + 1]]).reshape(height, width, 3)
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pixels": None}

    def _decode(self, path: str) -> Image.Image:
        try:
            image = decode_image(self._root, path)
        except ImageError as error:
            raise ValueError(
                f"the image {path} below {self._root} cannot be decoded ({error}): "
                "replace it, or take the sticker out of the corpus"
            ) from None
        short = min(image.size)
        if short > self._short_side:
            scale = self._short_side / short
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.BICUBIC)
        return image

    def _fingerprint(self) -> str:
        stats = []
        for path in self._paths:
            try:
                stat = (self._root / path).stat()
            except OSError:
                raise FileNotFoundError(
                    f"the image {printable(path)} is not below {self._root}, though the corpus lists it: "
                    "check the folder with 'mghft data check'"
                ) from None
            stats.append((path, stat.st_size, stat.st_mtime_ns))
        facts = json.dumps([_DECODER, self._short_side, str(self._root.resolve()), stats])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _estimated_bytes(self) -> float:
        count = len(self._paths)
        some = self._paths[:: max(1, count // 32)]
        images = [self._decode(path) for path in some]
        return sum(image.width * image.height * 3 for image in images) / max(1, len(images)) * count

    def _write(self, data: Path, index: Path) -> None:
        """Pixels first, index last, each by renaming: a build cut short leaves nothing that looks whole."""
        part = data.with_suffix(f".{os.getpid()}.part")
        shapes = []
        try:
            with part.open("wb") as stream, ThreadPoolExecutor(os.cpu_count()) as pool:
                for start in range(0, len(self._paths), _CHUNK):
                    for image in pool.map(self._decode, self._paths[start : start + _CHUNK]):
                        shapes.append((image.height, image.width))
                        stream.write(np.asarray(image, dtype=np.uint8).tobytes())
            part.replace(data)
            part.write_text(json.dumps({"shapes": shapes}))
            part.replace(index)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
