"""Decodes images in processes of their own, ahead of the engine.

Pillow holds Python's lock for much of its work, so that threads would take time from the engine's own thread;
and a file that crashes a decoder, or takes for ever, then costs its own row and not the run. A worker reads a
line of JSON and writes a line of JSON, then the pixels and, if wanted, the bytes of the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import select
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from pipeline.images import ImageTransform
from pipeline.rows import Loaded, load

# Far above what a slow disk or the largest image allowed needs; a decoder that is stuck never ends.
SECONDS = 120.0
# Linux lets everybody have a pipe of 1 MiB: most images then cross in one piece.
_PIPE_BYTES = 1 << 20
_MEMORY_BYTES = 8 << 30


class Decoders:
    """Loads images of one corpus side by side.

    Args:
        root: of the corpus.
        transform: how images are decoded.
        keep: whether the bytes of the files are kept.
        workers: processes; 0 decodes in a thread of this process.
    """

    def __init__(
        self, root: Path, transform: ImageTransform, *, keep: bool = False, workers: int = 2
    ) -> None:
        self._root, self._transform, self._keep = root, transform, keep
        self._threads = ThreadPoolExecutor(max(1, workers), "decode")
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(_Worker(root, transform, keep))
        self._workers = workers

    def submit(self, path: str) -> Future[Loaded]:
        """Begins to load the image at `path` below the root; the result never raises for a bad file."""
        return self._threads.submit(self._load, path)

    def close(self) -> None:
        """Drops what is not begun and ends the processes."""
        self._threads.shutdown(cancel_futures=True)
        for _ in range(self._workers):
            self._idle.get().close()

    def _load(self, path: str) -> Loaded:
        if not self._workers:
            return load(self._root, path, self._transform, self._keep)
        worker = self._idle.get()
        try:
            return worker.load(path)
        except _Gone as gone:
            worker.close()
            worker = _Worker(self._root, self._transform, self._keep)
            return Loaded(None, None, None, str(gone))
        finally:
            self._idle.put(worker)


class _Gone(Exception):  # noqa: N818 - says what became of the worker
    """The worker ended, or had to be ended."""


@dataclass(frozen=True)
class _Reply:
    """The line in front of the bytes of a reply: their lengths, and what `Loaded` holds besides."""

    size: tuple[int, int] | None
    content: int | None
    sha256: str | None
    error: str | None


class _Worker:
    """One decoding process; its start is not waited for."""

    def __init__(self, root: Path, transform: ImageTransform, keep: bool) -> None:
        setting = json.dumps([os.fsdecode(root), transform.model_dump(mode="json"), keep])
        self._process = subprocess.Popen(
            # -P: a file in the current folder that is called like a library is not imported.
            [sys.executable, "-P", "-c", "from pipeline.decoders import serve; serve()", setting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # libtiff and others write their own complaints there.
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def load(self, path: str) -> Loaded:
        """Raises _Gone when the process dies of the image or does not finish."""
        try:
            self._in.write(json.dumps(path).encode() + b"\n")
            self._in.flush()
        except BrokenPipeError:
            raise _Gone("the decoder did not start or crashed") from None
        ready, _, _ = select.select([self._out], [], [], SECONDS)
        if not ready:
            raise _Gone(f"the image takes longer than {SECONDS:.0f} s to decode")
        line = self._out.readline()
        if not line.endswith(b"\n"):
            raise _Gone("the image makes the decoder crash")
        reply = _Reply(**json.loads(line))
        image = None
        if reply.size is not None:
            width, height = reply.size
            image = Image.frombytes("RGB", (width, height), self._read(3 * width * height))
        content = None if reply.content is None else self._read(reply.content)
        return Loaded(image, reply.sha256, content, reply.error)

    def close(self) -> None:
        """Ends the process at once: it holds nothing but an image being decoded."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        with contextlib.suppress(BrokenPipeError):
            self._in.close()

    def _read(self, count: int) -> bytes:
        data = self._out.read(count)
        if len(data) < count:
            raise _Gone("the image makes the decoder crash")
        return data


def serve() -> None:
    """The worker's side: answers requests until its input ends, as it does when the parent is killed."""
    import resource
    import signal

    # The engine goes first: decoding takes the time that it leaves.
    os.nice(5)
    # Ctrl-C reaches every process of the terminal; the parent decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    root, fields, keep = json.loads(sys.argv[1])
    transform = ImageTransform.model_validate(fields)
    out = sys.stdout.buffer
    # What a library prints is no part of the protocol.
    sys.stdout = sys.stderr
    for line in sys.stdin.buffer:
        loaded = load(Path(root), json.loads(line), transform, keep)
        head: dict[str, Any] = {
            "size": None if loaded.image is None else loaded.image.size,
            "content": None if loaded.content is None else len(loaded.content),
            "sha256": loaded.sha256,
            "error": loaded.error,
        }
        out.write(json.dumps(head).encode() + b"\n")
        if loaded.image is not None:
            out.write(loaded.image.tobytes())
        if loaded.content is not None:
            out.write(loaded.content)
        out.flush()
