"""Ctrl-C and SIGTERM as a request that the training fulfils at the end of a step."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any, cast

# A signal to a whole group arrives twice where a launcher passes it on as well: that is one request.
_SAME = 2.0


class StopRequest:
    """A request to stop the run; a second one, some seconds later, does not wait for the step's end."""

    def __init__(self) -> None:
        self.made = False
        self._at = 0.0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen while the block runs; in a thread other than the main one the caller's handlers stay."""

        def request(number: int, frame: object) -> None:
            if not self.made:
                self.made, self._at = True, time.monotonic()
            elif time.monotonic() - self._at > _SAME:
                raise KeyboardInterrupt

        try:
            before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, cast(Any, handler))
