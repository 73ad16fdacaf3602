"""Images decoded ahead of the engine, in processes of their own; pixels come through shared memory.

Pillow holds Python's lock for much of its work, so threads would take time from the engine. Its own thread
looks for finished images between its steps (`ImagePrefetcher.poll`, which waits for nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from PIL import Image

from mghft.pipeline.images.load import Loaded, load_image
from mghft.pipeline.images.pool import WorkerPool
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.images.worker import Payload, PendingImage

__all__ = ["ImagePrefetcher", "PendingImage"]

# The engine goes first: decoding takes the time that it leaves.
_NICE = 5
# Each has shared memory of its own in every worker.
_DEPTH = 16
# After that long without news the time limit of images is looked at.
_WAIT_SECONDS = 0.2


class ImagePrefetcher:
    """Loads images of one corpus side by side.

    Args:
        root: of the corpus.
        transform: how images are decoded.
        keep: whether the bytes of the files are kept.
        workers: processes; 0 decodes in this process, when an image is wanted.
    """

    def __init__(
        self, root: Path, transform: ImageTransform, *, keep: bool = False, workers: int = 2
    ) -> None:
        self._root, self._transform, self._keep = root, transform, keep
        arguments = [transform.model_dump(mode="json"), keep]
        self._pool = WorkerPool(
            root, decode_job, arguments, workers=workers, depth=_DEPTH, payload=True, nice=_NICE
        )

    def submit(self, path: str) -> PendingImage:
        """Ask for the image at `path` below the root."""
        return self._pool.submit(path) if self._pool.workers else PendingImage(path)

    def done(self, image: PendingImage) -> bool:
        """Return whether `result` would not wait for another process."""
        return image.done or not self._pool.workers

    def result(self, image: PendingImage) -> Loaded:
        """Wait for the image and return it; never raises for what is wrong with its file."""
        if not self._pool.workers:
            return load_image(self._root, image.path, self._transform, self._keep)
        while not image.done:
            self._pool.poll(_WAIT_SECONDS)
        return _to_loaded(image)

    def poll(self) -> None:
        """Take what the workers have finished, and give them more to do; waits for nothing."""
        self._pool.poll()

    def close(self) -> None:
        """Drop what is not finished and end the processes."""
        self._pool.close()


class _Decoded(TypedDict):
    """The fields of `Loaded` that are no bytes."""

    size: tuple[int, int] | None
    sha256: str | None
    error: str | None


def decode_job(root: Path, path: str, transform: Mapping[str, Any], keep: bool) -> Payload:
    """Load an image in a worker; pixels and the bytes of the file are the parts of the payload."""
    loaded = load_image(root, path, ImageTransform.model_validate(transform), keep)
    size = None if loaded.image is None else loaded.image.size
    pixels = b"" if loaded.image is None else loaded.image.tobytes()
    answer: _Decoded = {"size": size, "sha256": loaded.sha256, "error": loaded.error}
    return Payload(answer, (pixels, loaded.content or b""))


def _to_loaded(image: PendingImage) -> Loaded:
    if image.answer is None:
        return Loaded(None, None, None, image.error or f"decoding the image failed: {image.fault}")
    answer: _Decoded = image.answer
    pixels, content = image.parts
    picture = None
    if answer["size"] is not None:
        width, height = answer["size"]
        picture = Image.frombytes("RGB", (width, height), pixels)
    return Loaded(picture, answer["sha256"], content or None, answer["error"])
