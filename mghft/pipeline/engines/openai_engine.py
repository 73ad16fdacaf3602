"""Any server that speaks OpenAI's chat protocol as an engine: requests side by side, retries, JSON asked for.

The `openai` client speaks the protocol; retries are ours, since its own end at a wait of two minutes, know
nothing of each other, and take an answer that is no JSON for an answer. What the server sends is read by
`mghft.pipeline.engines.openai_protocol`.
"""

from __future__ import annotations

import asyncio
import queue
import random
import sys
import threading
import time
from typing import Any

import httpx2
import openai
from PIL import Image
from tqdm import tqdm

from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.engines.endpoint import (
    check_address,
    cost,
    is_local,
    nearest_names,
    read_key,
    server_facts,
)
from mghft.pipeline.engines.openai_protocol import (
    Broken,
    Form,
    LimitedStream,
    TooLong,
    Wording,
    extract_json,
    image_url,
    read_reply,
    retry_after,
    server_words,
)
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.errors import EngineDiedError

__all__ = ["OpenAiEngine", "cost", "extract_json", "server_facts"]

# Seconds: the longest wait of our own choice, and the longest one that a server may ask for.
_LONGEST_BACKOFF = 60.0
_LONGEST_WAIT = 600.0
# Refusals one after the other, no answer between, that say the fault is not the stickers'.
_REFUSALS_IN_A_ROW = 20
_SAY_EVERY = 60.0
_SLICE = 0.05
_CHECK_SECONDS = 30.0
# Trying again does not help these, whatever the sticker: no key, no money, no such model or address.
_WRONG_SETTINGS = {401, 402, 403, 404, 405}


class OpenAiEngine:
    """An OpenAI-compatible server, asked over one background thread with an event loop.

    A failure that lasts is the request's own when the server answers a simple question (then it costs one
    `Answer`), else the server's (then `EngineDiedError`).

    Args:
        model: its name on the server.
        options: address, key, limits.
        backoff: seconds before the first retry, doubled by each further one.

    Attributes:
        retries: requests that were sent again so far.

    Raises:
        ValueError: the address or the key is no good.
        FileNotFoundError: nothing answers there, or the server does not have the model.
    """

    def __init__(self, model: str, options: ServerOptions, *, backoff: float = 1.0) -> None:
        self._address = check_address(options.base_url)
        self._model, self._options, self._backoff = model, options, backoff
        key = read_key(options.key_env, local=is_local(self._address))
        self._wording = Wording(key)
        if key is not None and self._address.startswith("http:") and not is_local(self._address):
            _say(f"the key goes to {self._address} unencrypted: use https where the server has it")
        self.capacity = options.concurrency + max(1, options.concurrency // 4)
        self.retries = 0
        self._form = Form("schema" if options.structured == "auto" else options.structured)
        self._answers: queue.SimpleQueue[Response] = queue.SimpleQueue()
        self._in_work = self._answered = self._refusals = 0
        self._not_before = 0.0
        self._said = -_SAY_EVERY
        self._lost: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(key or "none",), name="openai", daemon=True)
        self._thread.start()
        self._up.wait()
        try:
            asyncio.run_coroutine_threadsafe(self._check(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def submit(self, request: Request) -> None:
        """Hands the request to the background thread."""
        if not self._thread.is_alive():
            raise EngineDiedError("the engine is closed")
        self._in_work += 1
        self._loop.call_soon_threadsafe(self._start, request)

    def collect(self) -> list[Response]:
        """Waits for a moment only: Ctrl-C comes through, and free places are filled meanwhile."""
        answers: list[Response] = []
        if self._in_work:
            # Read before the queue: what was answered before the end is handed out first.
            lost = self._lost
            try:
                answers.append(self._answers.get(timeout=0 if lost else _SLICE))
                while True:
                    answers.append(self._answers.get_nowait())
            except queue.Empty:
                if not answers and (lost or not self._thread.is_alive()):
                    raise EngineDiedError(lost or "the engine is closed") from None
        self._in_work -= len(answers)
        return answers

    def close(self) -> None:
        """Cancels what is in flight and ends the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            # A look-up of a name cannot be cancelled; the thread is a daemon and holds nobody up.
            self._thread.join(timeout=10.0)

    def _run(self, key: str) -> None:
        asyncio.run(self._serve(key))

    async def _serve(self, key: str) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._places = asyncio.Semaphore(self._options.concurrency)
        http = openai.DefaultAsyncHttpxClient(
            # A proxy for the outside cannot reach this machine's own servers; a picture goes to the address
            # that was given and to no other.
            trust_env=not is_local(self._address),
            follow_redirects=False,
            event_hooks={"response": [_limit_body]},
        )
        async with openai.AsyncOpenAI(
            api_key=key,
            base_url=self._address,
            max_retries=0,
            timeout=httpx2.Timeout(self._options.timeout, connect=min(30.0, self._options.timeout)),
            http_client=http,
        ) as self._client:
            self._up.set()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _check(self) -> None:
        """Is the server there, and does it have the model? A server without a list of models is believed."""
        try:
            async with asyncio.timeout(min(_CHECK_SECONDS, self._options.timeout)):
                found = await self._client.get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise ValueError(self._settings_words(error.status_code, server_words(error))) from None
            return
        except (openai.APIConnectionError, TimeoutError):
            raise FileNotFoundError(
                f"the server {self._address} is not reachable: is it running, and is --base-url right?"
            ) from None
        except (ValueError, RecursionError, TooLong):
            return
        listed = found.get("data") if isinstance(found, dict) else None
        entries = listed if isinstance(listed, list) else []
        names = [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]
        # Ollama lists "name:latest" and takes "name".
        if names and self._model not in {*names, *(name.removesuffix(":latest") for name in names)}:
            raise FileNotFoundError(
                f"the server {self._address} has no model {self._model}: "
                f"give --model, for example {', '.join(nearest_names(self._model, names))}"
            )

    def _start(self, request: Request) -> None:
        if self._lost is not None:
            return
        task = self._loop.create_task(self._work(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, request: Request) -> None:
        try:
            answer = await self._ask(request)
        except EngineDiedError as error:
            self._lose(str(error))
        except Exception as error:
            # Without an answer or a word, `collect` would wait for ever.
            self._lose(self._wording.short(f"the engine broke: {type(error).__name__}: {error}"))
        else:
            self._answers.put(answer)

    def _lose(self, words: str) -> None:
        self._lost = self._lost or words
        for task in self._tasks - {asyncio.current_task(self._loop)}:
            task.cancel()

    async def _ask(self, request: Request) -> Response:
        """Asks until there is an answer, a refusal, or no patience left."""
        image = await asyncio.to_thread(image_url, request.image)
        async with self._places:
            failures = 0
            seen = now = self._answered
            while True:
                await self._held()
                seen, now, form = now, self._answered, self._form
                wait, status = None, 0
                try:
                    answer = read_reply(request.key, await self._post(form.body(self._model, request, image)))
                except openai.APIStatusError as error:
                    status, words = error.status_code, self._wording.short(server_words(error))
                    if self._adapt(form, status, words):
                        continue
                    if status not in (408, 409, 425, 429) and status < 500:
                        return self._refuse(request.key, status, words)
                    if status == 429 and error.code == "insufficient_quota":
                        raise EngineDiedError(
                            f"the account at {self._address} has no money left ({words})"
                        ) from None
                    wait = retry_after(error.response.headers)
                    reason = f"{status} {words}"
                except TooLong as error:
                    return self._count_refusal(Response(request.key, error=str(error)))
                except (openai.APITimeoutError, TimeoutError):
                    reason = f"no answer within {self._options.timeout:g} s"
                except openai.APIConnectionError as error:
                    reason = f"no connection or a broken one, {type(error.__cause__ or error).__name__}"
                except Broken as error:
                    reason = self._wording.short(str(error))
                else:
                    self._answered += 1
                    self._refusals = 0
                    return answer
                # A server that limits the rate and answers others is well: patience, not a failure.
                failures = 0 if status == 429 and self._answered > seen else failures + 1
                if failures > self._options.max_retries:
                    return await self._give_up(request, failures, reason)
                self.retries += 1
                await self._wait(wait, status, max(1, failures))

    async def _post(self, body: dict[str, Any]) -> object:
        # The timeout of the client starts anew with every byte; this one does not.
        async with asyncio.timeout(self._options.timeout):
            try:
                return await self._client.post("/chat/completions", body=body, cast_to=object)
            except (ValueError, RecursionError):
                raise Broken("the answer is no JSON") from None

    def _adapt(self, sent: Form, status: int, words: str) -> bool:
        """True when the request is worth sending again in a form that the server may take."""
        better = sent.after(words) if status in (400, 422) else None
        if better is None:
            return False
        if better.structured != sent.structured and self._options.structured != "auto":
            raise EngineDiedError(
                f"the server {self._address} refuses structured={sent.structured} ({words}): "
                "set server.structured to auto"
            )
        # Another request may have found the same out meanwhile.
        if self._form == sent:
            self._form = better
            _say(f"the server takes no {sent.difference(better)}; going on with {better.words()}")
        return True

    def _refuse(self, key: str, status: int, words: str) -> Response:
        if status in _WRONG_SETTINGS:
            raise EngineDiedError(self._settings_words(status, words))
        if status < 400:
            raise EngineDiedError(
                f"the server {self._address} redirects ({status}): give --base-url the address it means"
            )
        return self._count_refusal(Response(key, error=f"the server refused the request: {status} {words}"))

    def _count_refusal(self, answer: Response) -> Response:
        self._refusals += 1
        if self._refusals >= _REFUSALS_IN_A_ROW:
            raise EngineDiedError(
                f"the server {self._address} refused {self._refusals} requests in a row, the last with: "
                f"{answer.error}"
            )
        return answer

    def _settings_words(self, status: int, words: str) -> str:
        words = self._wording.short(words)
        if status in (401, 402, 403):
            return (
                f"the server {self._address} does not let us in ({status} {words}): "
                f"check the key in the environment variable {self._options.key_env} and the account"
            )
        return (
            f"the server {self._address} knows no such model or address ({status} {words}): "
            f"check --model {self._model} and --base-url, which mostly ends in /v1"
        )

    async def _give_up(self, request: Request, tries: int, reason: str) -> Response:
        """One failed request when the server answers a simple question; else the end."""
        if await self._answers_at_all(request):
            return self._count_refusal(
                Response(request.key, error=f"the server failed {tries} times on this request: {reason}")
            )
        raise EngineDiedError(
            f"the server {self._address} gave no answer in {tries} tries ({reason}): "
            "start the command again when it is back, what is finished is kept"
        )

    async def _answers_at_all(self, request: Request) -> bool:
        """Asks about a white square: tells a server that is down from a sticker that it stumbles over.

        That others were answered a moment ago says nothing: the server may have gone since.
        """
        white = await asyncio.to_thread(image_url, Image.new("RGB", (64, 64), "white"))
        body = self._form.body(self._model, request, white)
        body[self._form.limit] = 16
        for pause in (self._backoff, 0.0):
            try:
                read_reply("", await self._post(body))
            except (openai.APIError, TimeoutError, Broken, TooLong):
                await asyncio.sleep(pause)
            else:
                return True
        return False

    async def _held(self) -> None:
        """Waits while the server wants no requests, from anybody; then not all start in the same instant."""
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait + random.uniform(0.0, min(1.0, 0.1 * wait)))

    async def _wait(self, asked: float | None, status: int, failures: int) -> None:
        own = min(_LONGEST_BACKOFF, self._backoff * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)
        if asked is not None and asked > _LONGEST_WAIT:
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
            _say(f"the server limits the rate ({status}): nothing is sent for {wait:.1f} s")


async def _limit_body(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = LimitedStream(response.stream)


def _say(line: str) -> None:
    tqdm.write(f"describe: {line}", file=sys.stderr)
