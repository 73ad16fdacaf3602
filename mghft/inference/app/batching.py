"""Stickers of many requests in one forward pass: the first waits a moment for company, nobody for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mghft.inference.app.worker import Item

Rows = list[dict[str, Any]]


class QueueFullError(RuntimeError):
    """More stickers wait than are allowed."""


@dataclass
class _Waiting:
    items: Sequence[Item]
    answer: asyncio.Future[Rows] = field(repr=False)


class Batcher:
    """Collects stickers into batches; stickers of one request stay in one batch where they fit.

    Args:
        predict: classifies a batch.
        max_batch: stickers of a batch; a request with more makes a batch of its own.
        wait: seconds that the first waits for company.
        max_queue: stickers that wait or are in work.
        observe: told the size of every batch.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Item]], Awaitable[Rows]],
        *,
        max_batch: int,
        wait: float,
        max_queue: int,
        observe: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._predict, self._max_batch, self._wait = predict, max_batch, wait
        self._max_queue, self._observe = max_queue, observe
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._kept: _Waiting | None = None
        self._task: asyncio.Task[None] | None = None
        self.pending = 0

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; whoever waits still is told so."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for waiting in [*([self._kept] if self._kept else []), *self._drained()]:
            if not waiting.answer.done():
                waiting.answer.set_exception(RuntimeError("the service stops"))

    async def submit(self, items: Sequence[Item]) -> Rows:
        """Classify stickers; returns in their order.

        Raises:
            QueueFullError: at once, where too many wait.
            Exception: whatever the batch raised.
        """
        if self.pending + len(items) > self._max_queue:
            raise QueueFullError
        self.pending += len(items)
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(items, answer))
            return await answer
        finally:
            self.pending -= len(items)

    async def _run(self) -> None:
        while True:
            batch = await self._collect()
            # Who has given up meanwhile is not worked for.
            batch = [one for one in batch if not one.answer.done()]
            if not batch:
                continue
            items = [item for one in batch for item in one.items]
            self._observe(len(items))
            try:
                rows = await self._predict(items)
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            place = 0
            for one in batch:
                if not one.answer.done():
                    one.answer.set_result(rows[place : place + len(one.items)])
                place += len(one.items)

    async def _collect(self) -> list[_Waiting]:
        first = self._kept or await self._queue.get()
        self._kept = None
        batch, size = [first], len(first.items)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait
        while size < self._max_batch:
            try:
                remaining = deadline - loop.time()
                if remaining > 0:
                    one = await asyncio.wait_for(self._queue.get(), remaining)
                else:
                    one = self._queue.get_nowait()
            except (TimeoutError, asyncio.QueueEmpty):
                break
            if size + len(one.items) > self._max_batch:
                self._kept = one
                break
            batch.append(one)
            size += len(one.items)
        return batch

    def _drained(self) -> list[_Waiting]:
        found = []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found
