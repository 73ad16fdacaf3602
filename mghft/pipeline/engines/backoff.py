"""Pauses between requests to a server: growing ones of our own choice, and those that the server asks for."""

from __future__ import annotations

import asyncio
import random
import time

from mghft.pipeline.errors import EngineDiedError
from mghft.pipeline.progress import say

# Seconds: the longest pause of our own choice, and the longest one that a server may ask for.
_LONGEST_OWN = 60.0
_LONGEST_ASKED = 600.0
_SAY_EVERY = 60.0


class Backoff:
    """The pauses of all requests to one server.

    Args:
        address: of the server, for messages.
        first: seconds before the first retry, doubled by each further one.
    """

    def __init__(self, address: str, first: float) -> None:
        self.first = first
        self._address = address
        self._not_before = 0.0
        self._said = -_SAY_EVERY

    async def hold(self) -> None:
        """Wait while the server wants no requests, from anybody; then not all start in the same instant."""
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait + random.uniform(0.0, min(1.0, 0.1 * wait)))

    async def sleep(self, seconds: float) -> None:
        """Wait for about so long, one request alone."""
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))

    async def pause(self, asked: float | None, status: int, failures: int) -> None:
        """Wait before a retry, or hold all requests back where the server limits the rate.

        Args:
            asked: seconds that the server asks for, None where it says nothing.
            status: HTTP status of the failure, 0 for one without.
            failures: how often the request has failed, from 1.

        Raises:
            EngineDiedError: the server asks for more than ten minutes.
        """
        own = min(_LONGEST_OWN, self.first * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)
        if asked is not None and asked > _LONGEST_ASKED:
            raise EngineDiedError(
                f"the server {self._address} wants to be left alone for {asked:.0f} s: start the command "
                "again then, what is finished is kept"
            )
        if asked is None and status != 429:
            await asyncio.sleep(own)
            return
        wait = own if asked is None else asked
        self._not_before = max(self._not_before, time.monotonic() + wait)
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._said = time.monotonic()
            say(f"the server limits the rate ({status}): nothing is sent for {wait:.1f} s")
