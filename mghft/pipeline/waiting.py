"""A word while nothing else is said: people who wait for seconds want to know for what.

The command line watches its own output. Two seconds after the start, and whenever five have passed without a
line, it says on standard error what is under way; in a silence of minutes every half minute. Nothing is said
in programs that import this package, in all but the first process of a training, and with `--quiet`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

_FIRST, _SILENCE, _LONG_SILENCE = 1.5, 5.0, 30.0
# After so long a silence somebody who watches has understood.
_PATIENCE = 120.0
_POLL = 0.25
# "0" switches it off: the tests do, for whom every line of output counts.
VARIABLE = "MGHFT_WAITING"


class _State:
    """What the process is about; one for all, as standard error is."""

    doing: str | None = "loading"
    quiet = False
    speaker = "describe"


_state = _State()


def now_doing(what: str | None) -> None:
    """Say what is under way from now on ("reading the corpus"); None: somebody else speaks."""
    _state.doing = what


def speaker() -> str:
    """Return the name with which lines of news begin: the command's."""
    return _state.speaker


def be_quiet() -> None:
    """Say nothing but results, notes and errors from now on."""
    _state.quiet = True


def is_quiet() -> bool:
    """Return whether nothing but results, notes and errors is said."""
    return _state.quiet


@contextmanager
def watched(command: str) -> Iterator[None]:
    """Say what is under way whenever the output of this process is silent for long.

    Args:
        command: begins every line, behind "mghft".
    """
    _state.speaker = command or _state.speaker
    if os.environ.get(VARIABLE) == "0" or os.environ.get("RANK", "0") != "0":
        yield
        return
    # A name of its own for where standard error leads now: the engine's noise is led elsewhere for a while.
    speech = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    watch = Watch(f"mghft {command}".strip(), speech)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = watch.wrap(sys.stdout), watch.wrap(sys.stderr)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
        sys.stdout, sys.stderr = before
        speech.close()


class Watch:
    """A thread that knows when something was last written, and speaks when that was long ago."""

    def __init__(self, command: str, speech: IO[str]) -> None:
        self._command, self._speech = command, speech
        self._heard = self._said = time.monotonic()
        self._spoken = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="waiting")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join(1.0)

    def hear(self) -> None:
        """Note that something was written."""
        self._heard = self._said = time.monotonic()
        self._spoken = True

    def wrap(self, stream: IO[str]) -> IO[str]:
        """Return a stream that is heard."""
        return cast(IO[str], _Heard(stream, self))

    def _run(self) -> None:
        while not self._ended.wait(_POLL):
            now = time.monotonic()
            silent = now - self._heard
            due = _FIRST if not self._spoken else _SILENCE if silent < _PATIENCE else _LONG_SILENCE
            if now - self._said < due or _state.quiet or _state.doing is None:
                continue
            self._said, self._spoken = now, True
            try:
                self._speech.write(f"{self._command}: {_state.doing}, {silent:.0f} s\n")
                self._speech.flush()
            except (OSError, ValueError):
                return


class _Heard:
    """A stream whose writing is noted; everything else is the stream's own."""

    def __init__(self, stream: IO[str], watch: Watch) -> None:
        self._stream, self._watch = stream, watch

    def write(self, text: str) -> int:
        """Write, and be heard."""
        if text.strip():
            self._watch.hear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


class Noise:
    """What libraries wrote on standard error; `show` prints its end where it explains a failure."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def close(self) -> None:
        """Forget it."""
        self._file.close()

    def show(self, lines: int = 30) -> None:
        """Print the last lines on standard error."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - 200 * lines))
        for line in self._file.read().decode("utf-8", "replace").splitlines()[-lines:]:
            print(line, file=sys.stderr)


@contextmanager
def noise_kept() -> Iterator[Noise | None]:
    """Keep what libraries write on standard error meanwhile; show its end where they fail.

    What processes write that are started meanwhile is kept for as long as they live. With MGHFT_TRACEBACK set
    nothing is kept back, and there is no such object.
    """
    if os.environ.get("MGHFT_TRACEBACK"):
        yield None
        return
    import tempfile

    # It has no name: it lives as long as somebody holds it.
    noise = Noise(cast(IO[bytes], tempfile.TemporaryFile()))  # noqa: SIM115
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(noise._file.fileno(), 2)
    try:
        yield noise
    except BaseException:
        sys.stderr.flush()
        os.dup2(before, 2)
        noise.show()
        noise.close()
        raise
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
