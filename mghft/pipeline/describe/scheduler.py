"""Keeps an engine busy: images are decoded ahead of it, and its queue is filled as places become free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.prepare import EngineRun
from mghft.pipeline.describe.requests import Questions
from mghft.pipeline.engines.base import Engine, Request, RequestKey, Response
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.images.prefetch import ImagePrefetcher, PendingImage
from mghft.pipeline.progress import say
from mghft.pipeline.runs.rows import Row, start_row
from mghft.pipeline.runs.status import STAND_IN

# The end of the context is the end of the use, which need not be the end of the engine.
EngineFactory = Callable[[], AbstractContextManager[Engine]]


class ImageQueue(Protocol):
    """A loader of images that works ahead: `ImagePrefetcher` for files, others for what they have."""

    def submit(self, path: str) -> PendingImage:
        """Ask for an image by its path."""
        ...

    def done(self, image: PendingImage) -> bool:
        """Return whether `result` would not wait."""
        ...

    def result(self, image: PendingImage) -> Loaded:
        """Wait for the image and return it; never raises for what is wrong with it."""
        ...

    def poll(self) -> None:
        """Take what is finished, and give out more; waits for nothing."""
        ...


@contextmanager
def open_scheduler(
    run: EngineRun, engine: EngineFactory, *, first: int | None = None
) -> Iterator[RequestScheduler]:
    """Start what a run needs, decoders and engine, and end it with the context.

    Args:
        run: what is to be done.
        engine: opens the engine.
        first: stickers that are asked about before the first usable answer, None for no limit.
    """
    options = run.options
    if run.model.name == STAND_IN:
        say("tiny-llava is the shipped stand-in: it knows emoji only; --model names a real one")
    images = ImagePrefetcher(
        run.corpus.root, run.image, keep=options.embed_images, workers=options.decode_workers
    )
    # The decoders start first: they are ready when the engine is.
    with closing(images), engine() as started:
        yield RequestScheduler(
            started,
            run.questions,
            images,
            window=options.window,
            attempts=options.attempts,
            embed_images=options.embed_images,
            first=first,
        )


@dataclass
class _Asked:
    """A sticker whose responses are being waited for."""

    sticker: Sticker
    loaded: Loaded
    row: Row
    open_keys: set[RequestKey]
    attempt: int = 0
    responses: dict[RequestKey, Response] = field(default_factory=dict)


@dataclass
class RequestScheduler:
    """The requests of a run on their way through an engine.

    Attributes:
        images: loads the images ahead of the engine.
        window: stickers in memory at once: being decoded, waiting, or asked about.
        attempts: how often a sticker is asked at most.
        embed_images: whether rows carry the bytes of the image's file.
        first: stickers that are asked about before the first usable answer, None for no limit: where all
            answers are unusable, no more of them are paid for than tell so.
    """

    engine: Engine
    questions: Questions
    images: ImageQueue
    window: int = 512
    attempts: int = 1
    embed_images: bool = False
    first: int | None = None

    def rows(self, stickers: Iterable[Sticker]) -> Generator[list[Row]]:
        """Yield finished rows as they come: every sticker once, in no promised order.

        Raises:
            EngineDiedError: the engine is gone; what it did not finish has no row.
        """
        source = iter(stickers)
        decoding: deque[tuple[Sticker, PendingImage]] = deque()
        waiting: deque[Request] = deque()
        asked: dict[str, _Asked] = {}
        in_work = 0
        while True:
            for sticker in islice(source, max(0, self.window - len(decoding) - len(asked))):
                decoding.append((sticker, self.images.submit(sticker.path)))
            if not (decoding or waiting or in_work):
                return
            self.images.poll()
            finished: list[Row] = []
            while in_work < self.engine.capacity:
                if waiting:
                    self.engine.submit(waiting.popleft())
                    in_work += 1
                elif in_work and self.first is not None and len(asked) >= self.first:
                    # What the first answers are worth decides whether there are others.
                    break
                elif decoding and (in_work == 0 or self.images.done(decoding[0][1])):
                    # Without work there is nothing to do but to wait for the next image.
                    sticker, image = decoding.popleft()
                    loaded = self.images.result(image)
                    row = start_row(sticker, loaded, self.embed_images)
                    if loaded.image is None:
                        finished.append(row)
                        continue
                    requests = self.questions.make(sticker, loaded, 0)
                    keys = {request.key for request in requests}
                    asked[sticker.id] = _Asked(sticker, loaded, row, keys)
                    waiting.extend(requests)
                else:
                    break
            if finished:
                yield finished
            if not in_work:
                continue
            responses = self.engine.collect()
            in_work -= len(responses)
            settled = [self._take(response, asked, waiting) for response in responses]
            finished = [row for row in settled if row is not None]
            self._count_first(finished)
            if finished:
                yield finished

    def _count_first(self, rows: Sequence[Row]) -> None:
        """Let everything go as soon as an answer is usable, or as nobody stopped at all that were not."""
        if self.first is not None:
            usable = any(row["status"] == "ok" for row in rows)
            self.first = None if usable or len(rows) >= self.first else self.first - len(rows)

    def _take(self, response: Response, asked: dict[str, _Asked], waiting: deque[Request]) -> Row | None:
        """Return the sticker's row when this was the last response to it; ask again for an unusable one."""
        name = response.key.sticker_id
        pending = asked[name]
        pending.open_keys.remove(response.key)
        pending.responses[response.key] = response
        if pending.open_keys:
            return None
        self.questions.parse(pending.row, pending.responses)
        pending.attempt += 1
        if pending.row["status"] == "ok" or pending.attempt >= self.attempts:
            del asked[name]
            return pending.row
        requests = self.questions.make(pending.sticker, pending.loaded, pending.attempt)
        pending.open_keys, pending.responses = {request.key for request in requests}, {}
        waiting.extendleft(reversed(requests))
        return None
