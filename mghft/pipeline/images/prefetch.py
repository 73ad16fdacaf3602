"""Decodes images in processes of their own, ahead of the engine.

Pillow holds Python's lock for much of its work, and even a thread that only reads what a process decoded
takes that lock from the engine's own thread again and again. So there is no thread: a worker takes lines of
JSON, puts pixels into shared memory and answers with a line, and the engine's thread looks for lines between
its steps. A file that crashes a decoder, or takes for ever, costs its own row and not the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.images.load import Loaded, load

# Far above what a slow disk or the largest image allowed needs; a decoder that is stuck never ends.
SECONDS = 120.0
# Images a worker is asked for at once: it must not run dry while the engine takes a step.
_DEPTH = 16
# Less than a pipe holds, so that a worker that is stuck does not stop whoever writes to it.
_QUEUED_BYTES = 32 << 10
# Shared memory that an image leaves behind for the next one.
_KEPT_BYTES = 1 << 20
_MEMORY_BYTES = 8 << 30


@dataclass(eq=False)
class PendingImage:
    """An image that was asked for; `loaded` is filled in by `ImagePrefetcher`."""

    path: str
    loaded: Loaded | None = None


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
        self._queue: deque[PendingImage] = deque()
        self._workers = [_Worker(root, transform, keep) for _ in range(workers)]

    def submit(self, path: str) -> PendingImage:
        """Asks for the image at `path` below the root."""
        wanted = PendingImage(path)
        if self._workers:
            self._queue.append(wanted)
        return wanted

    def done(self, wanted: PendingImage) -> bool:
        """Whether `result` would not wait for another process."""
        return wanted.loaded is not None or not self._workers

    def result(self, wanted: PendingImage) -> Loaded:
        """Waits for the image; never raises for what is wrong with its file."""
        if not self._workers:
            return load(self._root, wanted.path, self._transform, self._keep)
        self.poll()
        while wanted.loaded is None:
            select.select([worker.output for worker in self._workers], [], [], 0.2)
            self.poll()
        return wanted.loaded

    def poll(self) -> None:
        """Takes what the workers have finished, and gives them more to do; waits for nothing."""
        for place, worker in enumerate(self._workers):
            try:
                worker.take()
            except _Gone as gone:
                self._replace(place, str(gone))
        while self._queue:
            place = min(range(len(self._workers)), key=lambda number: len(self._workers[number].asked))
            if not self._workers[place].has_room():
                return
            try:
                self._workers[place].ask(self._queue[0])
            except BrokenPipeError:
                # What it was asked for before is told by its silence at the next look.
                if self._workers[place].asked:
                    return
                self._replace(place, "")
            else:
                self._queue.popleft()

    def close(self) -> None:
        """Drops what is not finished and ends the processes."""
        self._queue.clear()
        for worker in self._workers:
            worker.close()

    def _replace(self, place: int, error: str) -> None:
        """A new worker for one that is gone; the image it was at fails, the others are asked for again."""
        gone = self._workers[place]
        gone.close()
        self._workers[place] = _Worker(self._root, self._transform, self._keep)
        if gone.asked:
            gone.asked.popleft().loaded = Loaded(None, None, None, error)
        self._queue.extendleft(reversed(gone.asked))


class _Gone(Exception):  # noqa: N818 - says what became of the worker
    """The worker ended, or had to be ended."""


@dataclass(frozen=True)
class _Reply:
    """What stands in shared memory, pixels first: its sizes, and what `Loaded` holds besides."""

    size: tuple[int, int] | None
    content: int | None
    sha256: str | None
    error: str | None


class _Worker:
    """One decoding process; its start is not waited for.

    Attributes:
        asked: what it was asked for and has not answered, in order.
        output: file descriptor that its lines come from.
    """

    def __init__(self, root: Path, transform: ImageTransform, keep: bool) -> None:
        self.asked: deque[PendingImage] = deque()
        self._slots = [os.memfd_create("image") for _ in range(_DEPTH)]
        setting = json.dumps([os.fsdecode(root), transform.model_dump(mode="json"), keep, self._slots])
        self.process = subprocess.Popen(
            # -P: a file in the current folder that is called like a library is not imported.
            [
                sys.executable,
                "-P",
                "-c",
                "from mghft.pipeline.images.prefetch import serve; serve()",
                setting,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # libtiff and others write their own complaints there.
            stderr=subprocess.DEVNULL,
            pass_fds=self._slots,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout
        self.output = self._output.fileno()
        os.set_blocking(self.output, False)
        self._received = b""
        self._sent = self._answered = 0
        self._queued_bytes: deque[int] = deque()
        self._since = time.monotonic()

    def has_room(self) -> bool:
        """Whether it can be asked for another image."""
        return not self.asked or (len(self.asked) < _DEPTH and sum(self._queued_bytes) < _QUEUED_BYTES)

    def ask(self, wanted: PendingImage) -> None:
        """Raises BrokenPipeError when the process is gone."""
        line = json.dumps([self._sent % _DEPTH, wanted.path]).encode() + b"\n"
        self._input.write(line)
        if not self.asked:
            self._since = time.monotonic()
        self.asked.append(wanted)
        self._queued_bytes.append(len(line))
        self._sent += 1

    def take(self) -> None:
        """Fills in what is finished; raises _Gone when the process has died or does not finish an image."""
        ended = False
        while True:
            try:
                data = os.read(self.output, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                ended = True
                break
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            loaded = self._read(_Reply(**json.loads(line)), self._slots[self._answered % _DEPTH])
            self._answered += 1
            self._queued_bytes.popleft()
            self.asked.popleft().loaded = loaded
            self._since = time.monotonic()
        if ended:
            start = "the image makes the decoder crash" if self._answered else "the decoder did not start"
            raise _Gone(start)
        if self.asked and time.monotonic() - self._since > SECONDS:
            raise _Gone(f"the image takes longer than {SECONDS:.0f} s to decode")

    def close(self) -> None:
        """Ends the process at once: it holds nothing but images being decoded."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        for slot in self._slots:
            os.close(slot)

    def _read(self, reply: _Reply, slot: int) -> Loaded:
        pixels = 0 if reply.size is None else 3 * reply.size[0] * reply.size[1]
        if os.fstat(slot).st_size < pixels + (reply.content or 0):
            raise _Gone("the image makes the decoder crash")
        image = None
        if reply.size is not None:
            width, height = reply.size
            image = Image.frombytes("RGB", (width, height), os.pread(slot, pixels, 0))
        content = None if reply.content is None else os.pread(slot, reply.content, pixels)
        if pixels + (reply.content or 0) > _KEPT_BYTES:
            os.ftruncate(slot, 0)
        return Loaded(image, reply.sha256, content, reply.error)


def serve() -> None:
    """The worker's side: answers requests until its input ends, as it does when the parent is killed."""
    import resource
    import signal

    # The engine goes first: decoding takes the time that it leaves.
    os.nice(5)
    # Ctrl-C reaches every process of the terminal; the parent decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    root, fields, keep, slots = json.loads(sys.argv[1])
    transform = ImageTransform.model_validate(fields)
    out = sys.stdout.buffer
    # What a library prints is no part of the protocol.
    sys.stdout = sys.stderr
    for line in sys.stdin.buffer:
        number, path = json.loads(line)
        loaded = load(Path(root), path, transform, keep)
        head: dict[str, Any] = {
            "size": None if loaded.image is None else loaded.image.size,
            "content": None if loaded.content is None else len(loaded.content),
            "sha256": loaded.sha256,
            "error": loaded.error,
        }
        place = 0
        for part in (b"" if loaded.image is None else loaded.image.tobytes(), loaded.content or b""):
            for piece in _pieces(part):
                place += os.pwrite(slots[number], piece, place)
        out.write(json.dumps(head).encode() + b"\n")
        out.flush()


def _pieces(data: bytes, size: int = 1 << 28) -> Iterator[memoryview]:
    """A system call takes 2 GiB at most."""
    view = memoryview(data)
    return (view[start : start + size] for start in range(0, len(view), size))
