"""The lock of a run folder: one writer, or several workers that share the stickers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.runs.worker import Worker


@contextlib.contextmanager
def lock_run(folder: Path, worker: Worker | None) -> Iterator[None]:
    """Hold the folder for one writer; different workers of the same number share it.

    The kernel's file lock dies with its owner, so nothing is left to clean up after a kill; pid and host are
    written into the file for the message alone.

    Raises:
        RunLockedError: a live process holds it, or live processes share the stickers among another number of
            workers.
    """
    with contextlib.ExitStack() as stack:
        _hold(stack, folder / ".lock", shared=worker is not None)
        if worker is not None:
            _hold(stack, folder / f".lock-{worker}", shared=False)
            for other in folder.glob(".lock-*of*"):
                # Shares of a third and of a quarter overlap: both would describe the same stickers.
                if not other.name.endswith(f"of{worker.count}"):
                    with contextlib.ExitStack() as probe:
                        _hold(probe, other, shared=False)
        yield


def _hold(stack: contextlib.ExitStack, path: Path, *, shared: bool) -> None:
    file = stack.enter_context(path.open("a+", encoding="utf-8"))
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(200).strip() or "another process"
        raise RunLockedError(
            f"the run folder {path.parent} is in use by {owner}: wait for it, end it, or give another --out"
        ) from None
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
