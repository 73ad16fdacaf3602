"""Asks one question about every image of a corpus, in processes of their own, on all cores.

Pillow holds Python's lock for much of its work, so threads would share one core. An image that crashes a
decoder or never ends costs its own answer, not the survey. Only answers cross between processes, never
pixels, so memory does not grow with the size of images.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

Answer = dict[str, Any]
Progress = Callable[[int, int], None]

# Far above what a slow disk or the largest image allowed needs; a decoder that is stuck never ends.
SECONDS = 120.0
# Sent at once: many enough that waiting for the other side costs little, few enough to fit into a pipe.
_BATCH_PATHS, _BATCH_BYTES = 32, 16_384
# A process takes half a second to start; below this many images per process that is not worth it.
_WORTHWHILE = 100
_MEMORY_BYTES = 8 << 30


def map_images(
    root: Path,
    paths: Sequence[str],
    job: str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Answer]:
    """What `job` says about every path, in the order of the paths.

    Args:
        root: of the corpus.
        paths: of images, below the root.
        job: "module:function"; the function takes (root, path) and returns what JSON can hold. It raises for
            no bad file.
        workers: processes; None takes one per core, fewer for small corpora; 0 asks in this process, where
            nothing is there to catch a crash.
        progress: called with (images done, images in all) after each image, in the caller's thread.

    Returns:
        One answer per path; {"error": reason} where the process ended over an image.

    Raises:
        RuntimeError: a process does not start, or the job itself is broken.
    """
    if workers is None:
        workers = max(1, min(len(os.sched_getaffinity(0)), -(-len(paths) // _WORTHWHILE)))
    if workers == 0:
        return [_ask_here(root, path, job) for path in _counted(paths, progress)]
    batches: queue.SimpleQueue[Sequence[int]] = queue.SimpleQueue()
    for batch in _batches(paths):
        batches.put(batch)
    answers: list[Answer] = [{} for _ in paths]
    done: queue.SimpleQueue[tuple[int, Answer] | Exception] = queue.SimpleQueue()
    pool = [_Surveyor(root, paths, job, batches, done) for _ in range(workers)]
    try:
        for surveyor in pool:
            surveyor.start()
        for count in range(1, len(paths) + 1):
            item = done.get()
            if isinstance(item, Exception):
                raise item
            number, answers[number] = item
            if progress is not None:
                progress(count, len(paths))
    finally:
        for surveyor in pool:
            surveyor.stop()
        for surveyor in pool:
            surveyor.join()
    return answers


def _counted(paths: Sequence[str], progress: Progress | None) -> Iterator[str]:
    for count, path in enumerate(paths, start=1):
        yield path
        if progress is not None:
            progress(count, len(paths))


def _ask_here(root: Path, path: str, job: str) -> Answer:
    return _load(job)(root, path)


def _load(job: str) -> Callable[[Path, str], Answer]:
    module, _, name = job.partition(":")
    found: Callable[[Path, str], Answer] = getattr(importlib.import_module(module), name)
    return found


def _batches(paths: Sequence[str]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for number, path in enumerate(paths):
        length = len(json.dumps(path))
        if batch and (len(batch) == _BATCH_PATHS or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += length
    if batch:
        yield batch


class _Surveyor(threading.Thread):
    """Keeps one process busy with batches; starts another when an image ends it."""

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        job: str,
        batches: queue.SimpleQueue[Sequence[int]],
        done: queue.SimpleQueue[tuple[int, Answer] | Exception],
    ) -> None:
        super().__init__(name="map_images", daemon=True)
        self._root, self._paths, self._job = root, paths, job
        self._batches, self._done = batches, done
        self._process: _Process | None = None
        self._stopped = False

    def run(self) -> None:
        try:
            while not self._stopped:
                try:
                    batch = self._batches.get_nowait()
                except queue.Empty:
                    break
                self._finish(list(batch))
        except Exception as error:
            if not self._stopped:
                self._done.put(error)
        finally:
            if self._process is not None:
                self._process.close()

    def stop(self) -> None:
        """Ends the work at once; what was being asked is dropped."""
        self._stopped = True
        if (process := self._process) is not None:
            process.kill()

    def _finish(self, batch: list[int]) -> None:
        while batch and not self._stopped:
            if self._process is None:
                self._process = _Process(self._root, self._job)
            process = self._process
            try:
                process.send([self._paths[number] for number in batch])
                while batch:
                    self._done.put((batch[0], process.receive()))
                    batch.pop(0)
            except _Gone as gone:
                process.close()
                self._process = None
                if not self._stopped:
                    # Answers come in order: the first without one is the image that did it.
                    self._done.put((batch.pop(0), {"error": str(gone)}))


class _Gone(Exception):  # noqa: N818 - says what became of the process
    """The process ended, or had to be ended."""


class _Process:
    """One process that answers; its lines are JSON both ways."""

    def __init__(self, root: Path, job: str) -> None:
        self._process = subprocess.Popen(
            # -P: a file in the current folder that is called like a library is not imported.
            [
                sys.executable,
                "-P",
                "-c",
                "from mghft.pipeline.images.parallel import serve; serve()",
                os.fspath(root),
                job,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # libtiff and others write their own complaints there.
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out = self._process.stdout.fileno()
        self._read = b""
        try:
            self.receive()
        except _Gone:
            self.close()
            raise RuntimeError(
                f"a process that reads images does not start (job {job}): run `mghft doctor`"
            ) from None

    def send(self, paths: Sequence[str]) -> None:
        """Asks about the paths; as many answers come, in this order."""
        try:
            self._in.write(b"".join(json.dumps(path).encode() + b"\n" for path in paths))
            self._in.flush()
        except (BrokenPipeError, ValueError):
            raise _Gone("the image makes the decoder crash") from None

    def receive(self) -> Answer:
        """The next answer; raises _Gone when there is none."""
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise _Gone(f"the image takes longer than {SECONDS:.0f} s to decode")
            content = os.read(self._out, 1 << 16)
            if not content:
                raise _Gone("the image makes the decoder crash")
            self._read += content
        line, _, self._read = self._read.partition(b"\n")
        answer: Answer = json.loads(line)
        if (fault := answer.get("fault")) is not None:
            raise RuntimeError(f"reading images failed: {fault}")
        return answer

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Ends the process at once: it holds nothing but an image being read."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        with contextlib.suppress(OSError):
            self._in.close()


def serve() -> None:
    """The process' side: answers until its input ends, as it does when the parent is killed."""
    import resource
    import signal

    # Ctrl-C reaches every process of the terminal; the parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    root = Path(sys.argv[1])
    out = sys.stdout.buffer
    # What a library prints is no part of the protocol.
    sys.stdout = sys.stderr
    job = _load(sys.argv[2])
    out.write(b"{}\n")
    out.flush()
    for line in sys.stdin.buffer:
        try:
            answer = job(root, json.loads(line))
        except Exception as error:
            answer = {"fault": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()
