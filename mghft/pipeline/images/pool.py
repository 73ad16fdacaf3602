"""The pool that keeps workers busy with images and replaces those that are gone.

A file that crashes a decoder, or never ends, costs its own answer: its worker is killed and replaced, and the
other images are asked for again. There is no thread: one that waits for answers takes Python's lock from
whoever works beside it (LOG.md, "Describing 1,000 stickers against the engine alone"). The caller polls.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mghft.pipeline.images.worker import Job, PendingImage, Worker, WorkerGoneError, importable_name

# Workers that may end one after the other before they have started.
_STARTS = 3


class WorkerStartError(RuntimeError):
    """Processes of this environment that end before they can work."""

    exit_code = 1


class WorkerPool:
    """Workers that share a queue of images, first come, first served.

    Args:
        root: of the corpus.
        job: called as `job(root, path, *arguments)` in the workers; its answer is what JSON can hold, or a
            `Payload` of it.
        arguments: what JSON can hold.
        workers: number of processes; their start is not waited for.
        depth: images that each is asked for at once, so that it does not run dry between two polls.
        payload: whether the job returns a `Payload`.
        nice: by how much others go first.

    Raises:
        ValueError: another process cannot import the job.
    """

    def __init__(
        self,
        root: Path,
        job: Job,
        arguments: Sequence[Any] = (),
        *,
        workers: int,
        depth: int,
        payload: bool = False,
        nice: int = 0,
    ) -> None:
        name = importable_name(job)
        self._start = partial(Worker, root, name, arguments, depth=depth, payload=payload, nice=nice)
        self._queue: deque[PendingImage] = deque()
        self.workers = [self._start() for _ in range(workers)]
        self._outputs = select.poll()
        for worker in self.workers:
            self._outputs.register(worker.output, select.POLLIN)

    def submit(self, path: str) -> PendingImage:
        """Ask for the image at `path` below the root; the workers learn of it when the pool is polled."""
        image = PendingImage(path)
        self._queue.append(image)
        return image

    def poll(self, seconds: float = 0.0) -> list[PendingImage]:
        """Take what is finished and return it; give the workers more to do.

        Args:
            seconds: how long a worker is waited for at most, where none has anything to tell.

        Raises:
            WorkerStartError: workers do not start.
        """
        self._dispatch()
        ready = {output for output, _ in self._outputs.poll(1000 * seconds)}
        finished: list[PendingImage] = []
        for place, worker in enumerate(self.workers):
            try:
                if worker.output in ready:
                    finished += worker.receive()
                else:
                    worker.check_time()
            except WorkerGoneError as gone:
                finished += self._replace(place, str(gone))
        self._dispatch()
        return finished

    def close(self) -> None:
        """Drop what is not finished and end the processes."""
        self._queue.clear()
        for worker in self.workers:
            worker.close()

    def _dispatch(self) -> None:
        while self._queue:
            worker = min(self.workers, key=lambda worker: len(worker.asked))
            if not worker.has_room(self._queue[0]):
                return
            try:
                worker.ask(self._queue[0])
            except BrokenPipeError:
                return  # The end of its output tells the same at the next poll.
            self._queue.popleft()

    def _replace(self, place: int, reason: str) -> list[PendingImage]:
        """Start a new worker for one that is gone: the image it was at fails, others are asked for again."""
        gone = self.workers[place]
        self._outputs.unregister(gone.output)
        gone.close()
        failed = []
        if gone.started and gone.asked:
            image = gone.asked.popleft()
            image.done, image.error = True, reason
            failed.append(image)
        elif not gone.started and gone.attempt == _STARTS:
            raise WorkerStartError(
                f"a process that reads images does not start (job {gone.job}): run `mghft doctor`"
            )
        self._queue.extendleft(reversed(gone.asked))
        worker = self.workers[place] = self._start(attempt=1 if gone.started else gone.attempt + 1)
        self._outputs.register(worker.output, select.POLLIN)
        return failed
