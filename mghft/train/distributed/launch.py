"""`mghft train --num-processes N`: N processes on this machine, all of which end when one ends badly.

They meet at a store that listens on the loopback device alone, as gloo is told to.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

# Exit code of a process that noticed the loss of another; `launch_processes` names the lost one.
LOST = 75
# Seconds that the other processes have to notice a loss and to leave by themselves.
_GRACE = 8.0
_LAUNCHED = "MGHFT_LAUNCHED"
_PR_SET_PDEATHSIG = 1


def launched() -> bool:
    """Return whether this is one of several processes already, started here, by torchrun or by accelerate."""
    return "LOCAL_RANK" in os.environ


def launched_here() -> bool:
    """Return whether `launch_processes` started this process."""
    return _LAUNCHED in os.environ


def end_with_launcher() -> None:
    """Ask Linux for SIGTERM when the launching process dies: the training then saves and leaves."""
    if launched_here() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def launch_processes(arguments: Sequence[str], processes: int) -> int:
    """Run `python -m mghft ARGUMENTS` in so many processes; return the exit code of the command.

    Ctrl-C and SIGTERM are passed on, so that all save and leave. Rank 0 writes to this terminal; of the
    others the last line is shown when one of them is the first to fail.
    """
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mghft-") as logs:
        children = [
            _start(arguments, rank, processes, port=port, log=Path(logs) / f"{rank}.log")
            for rank in range(processes)
        ]
        try:
            with _Forwarding(children) as forwarding:
                # While torch is loaded here, it is in the children too; they can connect already.
                _store = _serve(listener.detach(), port)
                failed = _wait(children)
        finally:
            for child in children:
                child.kill()
                child.wait()
        if forwarding.used and any(child.returncode for child in children):
            return 130
        if failed is None:
            return 0
        return _report(failed, children, Path(logs) / f"{failed}.log")


def _serve(listener: int, port: int) -> Any:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listener)


def _start(
    arguments: Sequence[str], rank: int, processes: int, *, port: int, log: Path
) -> subprocess.Popen[Any]:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = {
        # A warning that costs nothing, and stack traces of gloo that end in our sentence anyway.
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        # Several processes with all threads each would wait for each other.
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # The store is here, no process opens one of its own.
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        _LAUNCHED: "1",
    }
    with contextlib.ExitStack() as opened:
        output: dict[str, Any] = {}
        if rank:
            output = {"stdout": opened.enter_context(log.open("wb")), "stderr": subprocess.STDOUT}
        # A session of its own, so that the terminal's Ctrl-C comes through this process, once.
        return subprocess.Popen(
            [sys.executable, "-m", "mghft", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **output,
        )


class _Forwarding:
    """Ctrl-C and SIGTERM, passed on to the children while the block runs."""

    def __init__(self, children: Sequence[subprocess.Popen[Any]]) -> None:
        self.children, self.used = children, False

    def __enter__(self) -> _Forwarding:
        self._before = {n: signal.signal(n, self._forward) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.used = True
        for child in self.children:
            if child.poll() is None:
                child.send_signal(number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _wait(children: Sequence[subprocess.Popen[Any]]) -> int | None:
    """Wait for all; return the rank that failed first, None when none did."""
    deadline: float | None = None
    while any(child.poll() is None for child in children):
        if deadline is None and any(child.poll() for child in children):
            deadline = time.monotonic() + _GRACE
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.05)
    codes = [child.poll() for child in children]
    failed = [rank for rank, code in enumerate(codes) if code]
    # Those that only noticed are not to blame; a signal says more than an exit code.
    return min(failed, key=lambda rank: (codes[rank] == LOST, (codes[rank] or 0) > 0, rank), default=None)


def _report(rank: int, children: Sequence[subprocess.Popen[Any]], log: Path) -> int:
    """Say which process failed and why; return the exit code of the command."""
    code, count = children[rank].returncode, len(children)
    if rank == 0 and code > 0 and code != LOST:
        # It has said why itself.
        return int(code)
    if code < 0:
        why = f"was ended by {signal.Signals(-code).name}"
    else:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        why = f"ended with code {code} ({lines[-1].removeprefix('error: ') if lines else 'it said nothing'})"
    print(
        f"error: process {rank} of {count} {why}, so all have ended: what the last checkpoint holds is kept, "
        "go on with --resume",
        file=sys.stderr,
    )
    return int(code) if code in (1, 2) else 1
