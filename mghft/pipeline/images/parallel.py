"""One question about every image of a corpus, asked in processes of their own on all cores.

Pillow holds Python's lock for much of its work, so threads would share one core. Only answers cross between
processes, never pixels, so memory does not grow with the size of images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.pool import WorkerPool
from mghft.pipeline.images.worker import importable_name
from mghft.pipeline.progress import Advance

T = TypeVar("T")

# A process takes half a second to start; below this many images per process that is not worth it.
_WORTHWHILE = 100
_DEPTH = 32
# After that long without news the time limit of images is looked at.
_WAIT_SECONDS = 0.2


def map_images(
    root: Path,
    paths: Sequence[str],
    job: Callable[[Path, str], T],
    *,
    workers: int | None = None,
    progress: Advance | None = None,
) -> list[T | ImageError]:
    """Return what `job(root, path)` returns for every path, in the order of the paths.

    Args:
        root: of the corpus.
        paths: of images, below the root.
        job: a function at the top of a module, which returns what JSON can hold, or raises an `ImageError`
            for an image that cannot be used.
        workers: processes; None takes one per core, fewer for small corpora; 0 asks in this process, where
            nothing is there to catch a crash.
        progress: called with (images done, images in all) after each image, in the caller's thread.

    Returns:
        An answer per path; where the job raised it or the process ended over the image, the `ImageError`.

    Raises:
        ValueError: another process cannot import the job.
        RuntimeError: a process does not start, or the job itself is broken.
    """
    importable_name(job)
    if workers is None:
        workers = max(1, min(len(os.sched_getaffinity(0)), -(-len(paths) // _WORTHWHILE)))
    report = progress or (lambda done, total: None)
    if workers == 0 or not paths:
        answers = []
        for path in paths:
            answers.append(_ask_here(root, path, job))
            report(len(answers), len(paths))
        return answers
    with closing(WorkerPool(root, job, workers=min(workers, len(paths)), depth=_DEPTH)) as pool:
        images = [pool.submit(path) for path in paths]
        done = 0
        while done < len(images):
            for image in pool.poll(_WAIT_SECONDS):
                if image.fault is not None:
                    raise RuntimeError(f"reading images failed: {image.fault}")
                done += 1
                report(done, len(images))
    return [image.answer if image.error is None else ImageError(image.error) for image in images]


def _ask_here(root: Path, path: str, job: Callable[[Path, str], T]) -> T | ImageError:
    try:
        return job(root, path)
    except ImageError as error:
        return error
