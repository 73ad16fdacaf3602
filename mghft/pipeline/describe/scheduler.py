"""Keeps an engine busy: images are decoded ahead of it, and its queue is filled as places become free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.requests import judge, make_requests
from mghft.pipeline.engines.base import Engine, Request, Response
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.images.prefetch import ImagePrefetcher, PendingImage
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.rows import Row, start_row


@contextmanager
def open_scheduler(
    config: DescribeConfig, pack: PromptPack, start: Callable[[], Engine]
) -> Iterator[RequestScheduler]:
    """A feed of a run's configuration; ends its engine and its decoders with the context."""
    images = ImagePrefetcher(
        config.data, config.image, keep=config.embed_images, workers=config.decode_workers
    )
    # The decoders start first: they are ready when the engine is.
    with closing(images), closing(start()) as engine:
        yield RequestScheduler(engine, pack, images, config.window, config.attempts, config.embed_images)


@dataclass
class _Asked:
    """A sticker whose answers are being waited for."""

    sticker: Sticker
    loaded: Loaded
    row: Row
    open_keys: set[str]
    attempt: int = 0
    answers: dict[str, Response] = field(default_factory=dict)


@dataclass
class RequestScheduler:
    """Describes stickers with an engine.

    Attributes:
        decoders: load the images ahead of the engine.
        window: stickers in memory at once: being decoded, waiting, or asked about.
        attempts: how often a sticker is asked at most.
        keep_bytes: whether rows carry the bytes of the image's file.
    """

    engine: Engine
    pack: PromptPack
    decoders: ImagePrefetcher
    window: int = 512
    attempts: int = 1
    keep_bytes: bool = False

    def rows(self, stickers: Iterable[Sticker]) -> Generator[list[Row]]:
        """Finished rows as they come: every sticker once, in no promised order.

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
                decoding.append((sticker, self.decoders.submit(sticker.path)))
            if not (decoding or waiting or in_work):
                return
            self.decoders.poll()
            finished: list[Row] = []
            while in_work < self.engine.capacity:
                if waiting:
                    self.engine.submit(waiting.popleft())
                    in_work += 1
                elif decoding and (in_work == 0 or self.decoders.done(decoding[0][1])):
                    # Without work there is nothing to do but to wait for the next image.
                    sticker, job = decoding.popleft()
                    loaded = self.decoders.result(job)
                    row = start_row(sticker, loaded, self.keep_bytes)
                    if loaded.image is None:
                        finished.append(row)
                        continue
                    requests = make_requests(self.pack, sticker, loaded, 0)
                    asked[sticker.id] = _Asked(sticker, loaded, row, {one.key for one in requests})
                    waiting.extend(requests)
                else:
                    break
            if finished:
                yield finished
            if not in_work:
                continue
            answers = self.engine.collect()
            in_work -= len(answers)
            taken = [self._take(answer, asked, waiting) for answer in answers]
            finished = [row for row in taken if row is not None]
            if finished:
                yield finished

    def _take(self, answer: Response, asked: dict[str, _Asked], waiting: deque[Request]) -> Row | None:
        """The sticker's row when this was the last answer to it; an unusable one is asked for again."""
        name = answer.key.partition("\n")[2]
        one = asked[name]
        one.open_keys.remove(answer.key)
        one.answers[answer.key] = answer
        if one.open_keys:
            return None
        judge(one.row, one.answers, self.pack.asked)
        one.attempt += 1
        if one.row["status"] == "ok" or one.attempt >= self.attempts:
            del asked[name]
            return one.row
        requests = make_requests(self.pack, one.sticker, one.loaded, one.attempt)
        one.open_keys, one.answers = {request.key for request in requests}, {}
        waiting.extendleft(reversed(requests))
        return None
