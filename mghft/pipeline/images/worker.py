"""A process that works on images and may crash: how it is started, asked, listened to and ended."""

from __future__ import annotations

import contextlib
import importlib
import json
import operator
import os
import resource
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from mghft.pipeline.images.color import ImageError

# Far above what a slow disk or the largest image allowed needs; a decoder that is stuck never ends.
SECONDS = 120.0
# Less than a pipe holds, so that a worker that is stuck does not stop whoever writes to it.
_QUEUED_BYTES = 32 << 10
# Shared memory that an image leaves behind for the next one.
_KEPT_BYTES = 1 << 20
_MEMORY_BYTES = 8 << 30
# glibc gives the memory of each image back to the system and takes it anew for the next, which cost 13 to 19
# % of decoding stickers of 256 and 512 px. So much of it is kept; larger pieces still go back at once.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(16 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}

Job = Callable[..., Any]
_serving = False


class WorkerGoneError(Exception):
    """The end of a worker, come by itself or brought about; the message is the reason."""


class Payload(NamedTuple):
    """A job's answer, and bytes that go through shared memory beside it."""

    answer: Any
    parts: Sequence[bytes]


@dataclass(eq=False)
class PendingImage:
    """An image that was asked for and, once it is done, a job's answer about it or why there is none.

    Attributes:
        path: below the root.
        answer: as JSON holds it; parts: of a `Payload`.
        error: why the image cannot be used: what the job raised as an `ImageError`, or how the worker ended.
        fault: any other exception of the job.
    """

    path: str
    done: bool = False
    answer: Any = None
    parts: Sequence[bytes] = ()
    error: str | None = None
    fault: str | None = None

    @cached_property
    def line(self) -> bytes:
        """The request for it."""
        return json.dumps(self.path).encode() + b"\n"


class Worker:
    """A process that does one job on one image after the other; lines of JSON go both ways.

    Attributes:
        asked: images it was asked for and has not answered, in order.
        job: "module:name".
        output: file descriptor that its lines come from.
        started: whether it has said that it is ready.
        attempt: 1, and one more than that of the worker it replaces where that one did not start.
    """

    def __init__(
        self,
        root: Path,
        job: str,
        arguments: Sequence[Any],
        *,
        depth: int,
        payload: bool,
        nice: int,
        attempt: int = 1,
    ) -> None:
        self.asked: deque[PendingImage] = deque()
        self.job, self.attempt, self.started = job, attempt, False
        self._depth = depth
        self._slots = [os.memfd_create("image") for _ in range(depth if payload else 0)]
        setting = json.dumps([os.fsdecode(root), job, list(arguments), self._slots, nice])
        self.process = subprocess.Popen(
            # -P: a file in the current folder that is called like a library is not imported.
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()", setting],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # libtiff and others write their own complaints there.
            stderr=subprocess.DEVNULL,
            pass_fds=self._slots,
            bufsize=0,
            env={
                **os.environ,
                **_MALLOC,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout
        self.output = self._output.fileno()
        self._received = b""
        self._answered = 0
        self._since = time.monotonic()

    def has_room(self, image: PendingImage) -> bool:
        """Return whether it can be asked for this image too."""
        queued = sum(len(asked.line) for asked in self.asked)
        return not self.asked or (len(self.asked) < self._depth and queued + len(image.line) <= _QUEUED_BYTES)

    def ask(self, image: PendingImage) -> None:
        """Ask for an image.

        Raises:
            BrokenPipeError: the process is gone, and does not know of the image.
        """
        self._input.write(image.line)
        if self.started and not self.asked:
            self._since = time.monotonic()
        self.asked.append(image)

    def receive(self) -> list[PendingImage]:
        """Fill in replies that have come and return their images; to be called when `output` can be read.

        Raises:
            WorkerGoneError: the process has ended, and all its replies were taken.
        """
        data = os.read(self.output, 1 << 16)
        if not data:
            raise WorkerGoneError("the image makes the decoder crash")
        *lines, self._received = (self._received + data).split(b"\n")
        answered = []
        for line in lines:
            if self.started:
                answered.append(self._fill_in(self.asked.popleft(), **json.loads(line)))
            self.started = True
            self._since = time.monotonic()
        return answered

    def check_time(self) -> None:
        """Look how long nothing has come.

        Raises:
            WorkerGoneError: too long for the image it is at.
        """
        if (self.asked or not self.started) and time.monotonic() - self._since > SECONDS:
            raise WorkerGoneError(f"the image takes longer than {SECONDS:.0f} s to decode")

    def close(self) -> None:
        """End the process at once, also for the second time: it holds nothing but images being worked on."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        while self._slots:
            os.close(self._slots.pop())

    def _fill_in(
        self,
        image: PendingImage,
        answer: Any = None,
        sizes: Sequence[int] = (),
        error: str | None = None,
        fault: str | None = None,
    ) -> PendingImage:
        image.done, image.answer, image.error, image.fault = True, answer, error, fault
        if self._slots:
            slot, place, parts = self._slots[self._answered % self._depth], 0, []
            for size in sizes:
                parts.append(os.pread(slot, size, place))
                place += size
            if place > _KEPT_BYTES:
                os.ftruncate(slot, 0)
            image.parts = parts
        self._answered += 1
        return image


def importable_name(job: Job) -> str:
    """Return "module:name", by which another process can import a function.

    Raises:
        ValueError: it is no function of a module's own, or one of `__main__`.
    """
    module, name = getattr(job, "__module__", None), getattr(job, "__qualname__", None)
    if module and name and module != "__main__":
        with contextlib.suppress(AttributeError):
            if operator.attrgetter(name)(sys.modules.get(module)) is job:
                return f"{module}:{name}"
    raise ValueError(
        f"the job {name or repr(job)} cannot be imported by another process: "
        "give a function that is defined at the top of a module"
    )


def is_worker() -> bool:
    """Return whether this process is a worker, which may crash over an image."""
    return _serving


def serve() -> None:
    """Answer requests until the input ends, as it does when the parent is killed: the worker's side."""
    global _serving
    _serving = True
    # Ctrl-C reaches every process of the terminal; the parent decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    root, name, arguments, slots, nice = json.loads(sys.argv[1])
    os.nice(nice)
    # What a library prints, be it written in C, is no part of the protocol.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def send(line: bytes) -> None:
        out.write(line + b"\n")
        out.flush()

    module, _, function = name.partition(":")
    job = operator.attrgetter(function)(importlib.import_module(module))
    send(b"ready")
    for number, request in enumerate(sys.stdin.buffer):
        slot = slots[number % len(slots)] if slots else None
        send(_answer(partial(job, Path(root), json.loads(request), *arguments), slot))


def _answer(work: Callable[[], Any], slot: int | None) -> bytes:
    """Do the work on one image; its reply as JSON, the parts of a payload in the slot."""
    try:
        answer = work()
        if not isinstance(answer, Payload):
            return json.dumps({"answer": answer}).encode()
        assert slot is not None
        place = 0
        for part in answer.parts:
            rest = memoryview(part)
            while rest:
                written = os.pwrite(slot, rest, place)
                rest, place = rest[written:], place + written
        sizes = [len(part) for part in answer.parts]
        return json.dumps({"answer": answer.answer, "sizes": sizes}).encode()
    except ImageError as error:
        return json.dumps({"error": str(error)}).encode()
    except MemoryError:
        return json.dumps({"error": "the image does not fit into memory"}).encode()
    except Exception as error:
        return json.dumps({"fault": f"{type(error).__name__}: {error}"}).encode()
