"""Any server that speaks OpenAI's chat protocol as an engine: requests side by side over one thread."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future, wait

from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.engines.openai_client import ChatClient
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.engines.server_probe import first_question
from mghft.pipeline.errors import EngineDiedError
from mghft.pipeline.progress import say
from mghft.pipeline.prompting.pack import Sampling

_SLICE = 0.05
# Between two lines of news while the first question is not answered.
_SAY_SECONDS = 5.0


class OpenAiEngine:
    """An OpenAI-compatible server, asked over one background thread with an event loop.

    Args:
        model: its name on the server.
        options: address, key, limits.
        backoff: seconds before the first retry, doubled by each further one.
        system, sampling: of the requests to come; the question before the first of them has them too.

    Raises:
        ValueError: the address or the key is no good, or the environment's proxy or certificates.
        FileNotFoundError: nothing answers there.
        EngineDiedError: the server answers no question, or none about a picture.
    """

    def __init__(
        self,
        model: str,
        options: ServerOptions,
        *,
        backoff: float = 1.0,
        system: str | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self._client = ChatClient(model, options, backoff=backoff)
        self.capacity = options.concurrency + max(1, options.concurrency // 4)
        self._responses: queue.SimpleQueue[Response] = queue.SimpleQueue()
        self._in_work = 0
        # What the engine died of.
        self._death: EngineDiedError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="openai", daemon=True)
        self._thread.start()
        self._up.wait()
        if self._death is not None:
            raise self._death
        try:
            first = first_question(system, sampling or Sampling())
            self._wait(asyncio.run_coroutine_threadsafe(self._client.check(first), self._loop))
        except BaseException:
            self.close()
            raise

    @property
    def retries(self) -> int:
        """Return how many requests were sent again so far."""
        return self._client.retries

    def submit(self, request: Request) -> None:
        """Hand the request to the background thread."""
        if not self._thread.is_alive():
            raise EngineDiedError("the engine is closed")
        self._in_work += 1
        self._loop.call_soon_threadsafe(self._start, request)

    def collect(self) -> list[Response]:
        """Wait for a moment only: Ctrl-C comes through, and free places are filled meanwhile."""
        responses: list[Response] = []
        if self._in_work:
            # Read before the queue: what was answered before the end is handed out first.
            death = self._death
            try:
                responses.append(self._responses.get(timeout=0 if death else _SLICE))
                while True:
                    responses.append(self._responses.get_nowait())
            except queue.Empty:
                if not responses and (death or not self._thread.is_alive()):
                    raise death or EngineDiedError("the engine is closed") from None
        self._in_work -= len(responses)
        return responses

    def close(self) -> None:
        """Cancel what is in flight and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            # A look-up of a name cannot be cancelled; the thread is a daemon and holds nobody up.
            self._thread.join(timeout=10.0)

    def _wait(self, first_answer: Future[None]) -> None:
        """Wait for the answer to the first question, which may have to load a model; say so."""
        seconds = 0.0
        while not wait([first_answer], timeout=_SAY_SECONDS).done:
            seconds += _SAY_SECONDS
            say(f"waiting for the server's first answer, {seconds:.0f} s so far")
        first_answer.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self._death = self._death or self._broken(error)
        finally:
            # Whoever waits for the start learns of its failure too.
            self._up.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._client:
            self._up.set()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, request: Request) -> None:
        if self._death is not None:
            return
        task = self._loop.create_task(self._work(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, request: Request) -> None:
        try:
            response = await self._client.ask(request)
        except EngineDiedError as error:
            self._die(error)
        except Exception as error:
            # Without a response or a word, `collect` would wait for ever.
            self._die(self._broken(error))
        else:
            self._responses.put(response)

    def _broken(self, error: Exception) -> EngineDiedError:
        words = f"the engine broke: {type(error).__name__}: {error}"
        return EngineDiedError(self._client.wording.short(words))

    def _die(self, error: EngineDiedError) -> None:
        self._death = self._death or error
        for task in self._tasks - {asyncio.current_task(self._loop)}:
            task.cancel()
