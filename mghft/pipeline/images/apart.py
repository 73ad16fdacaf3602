"""Decoding in a process of its own, for libraries that a hostile file may crash, hang or let grow.

Where images are decoded in workers already (describe, check) they do it there; training, pages and previews
decode in their own process, which must outlive every file.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from typing import Any

from PIL import Image

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.pool import WorkerPool
from mghft.pipeline.images.worker import Job

_WAIT_SECONDS = 0.2


class _Decoder:
    """The one process that decodes for this one; a fork starts its own."""

    def __init__(self) -> None:
        self._pool: WorkerPool | None = None
        self._parents: list[WorkerPool] = []
        self._lock = threading.Lock()

    def ask(self, job: Job, request: str) -> Any:
        with self._lock:
            if self._pool is None:
                self._pool = WorkerPool(Path(gettempdir()), job, workers=1, depth=1, payload=True)
            image = self._pool.submit(request)
            while not image.done:
                self._pool.poll(_WAIT_SECONDS)
        return image

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def forget(self) -> None:
        """Leave the parent's process to the parent, after a fork."""
        # Kept, since their end would be warned of: the process is not this one's to wait for.
        self._parents += [] if self._pool is None else [self._pool]
        self._pool, self._lock = None, threading.Lock()


_DECODER = _Decoder()
atexit.register(_DECODER.close)
os.register_at_fork(after_in_child=_DECODER.forget)


def decode_apart(content: bytes, transform: dict[str, Any], job: Job) -> Image.Image:
    """Decode an image in another process.

    Args:
        content: the bytes of its file.
        transform: an `ImageTransform` as JSON has it.
        job: called there as `job(folder, request)`; `read_request` tells what is wanted, and `Payload` of
            width, height and the RGB pixels is the answer.

    Raises:
        ImageError: the job's own, or the process ended over the image or took too long.
        WorkerStartError: no process starts.
    """
    with NamedTemporaryFile(prefix="mghft-image-") as file:
        file.write(content)
        file.flush()
        image = _DECODER.ask(job, json.dumps([file.name, transform]))
    if image.error is not None or image.fault is not None:
        raise ImageError(image.error or f"decoding the image failed: {image.fault}")
    width, height = image.answer
    return Image.frombytes("RGB", (width, height), image.parts[0])


def read_request(request: str) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of the file and the transform of a request, in the process that decodes."""
    name, transform = json.loads(request)
    return Path(name).read_bytes(), transform
