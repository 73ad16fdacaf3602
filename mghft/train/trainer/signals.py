"""Ctrl-C and SIGTERM as a request that the training fulfils at the end of a step."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, cast


class StopRequest:
    """A request to stop the run; a second signal does not wait for the step's end."""

    def __init__(self) -> None:
        self.made = False

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen while the block runs; in a thread other than the main one the caller's handlers stay."""

        def request(number: int, frame: object) -> None:
            if self.made:
                raise KeyboardInterrupt
            self.made = True

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
