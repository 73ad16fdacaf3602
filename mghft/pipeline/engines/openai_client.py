"""One server that speaks OpenAI's chat protocol, asked with patience: retries, refusals, JSON asked for.

The `openai` client speaks the protocol; retries are ours, since its own end at a wait of two minutes, know
nothing of each other, and take a reply that is no JSON for a response. What is sent and received is written
and read by `openai_protocol`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
from PIL import Image

from mghft.pipeline.engines.backoff import Backoff
from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.engines.endpoint import check_address, is_local, nearest_names, read_key
from mghft.pipeline.engines.openai_protocol import (
    BrokenReplyError,
    Form,
    LimitedStream,
    ReplyTooLongError,
    Wording,
    image_url,
    listed_models,
    read_reply,
    retry_after,
    server_words,
)
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.errors import EngineDiedError
from mghft.pipeline.progress import say

# Refusals one after the other, no response between, that say the fault is not the stickers'.
_REFUSALS_IN_A_ROW = 20
_CHECK_SECONDS = 30.0
# Asking again does not help these, whatever the sticker: no key, no money, no such model or address.
_WRONG_SETTINGS = {401, 402, 403, 404, 405}


class ChatClient:
    """A model on a server; an asynchronous context manager around the connections.

    A failure that lasts is the request's own when the server answers a simple question (then it costs one
    `Response`), else the server's (then `EngineDiedError`).

    Args:
        model: its name on the server.
        options: address, key, limits.
        backoff: seconds before the first retry, doubled by each further one.

    Attributes:
        retries: requests that were sent again so far.
        wording: makes the server's words fit for a message.

    Raises:
        ValueError: the address or the key is no good.
    """

    def __init__(self, model: str, options: ServerOptions, *, backoff: float) -> None:
        self._address = check_address(options.base_url)
        self._model, self._options = model, options
        key = read_key(options.key_env, local=is_local(self._address))
        self.wording = Wording(key)
        if key is not None and self._address.startswith("http:") and not is_local(self._address):
            say(f"the key goes to {self._address} unencrypted: use https where the server has it")
        self._key = key or "none"
        self._backoff = Backoff(self._address, backoff)
        self._form = Form("schema" if options.structured == "auto" else options.structured)
        self._places = asyncio.Semaphore(options.concurrency)
        self.retries = self._answered = self._refusals = 0

    async def __aenter__(self) -> ChatClient:
        http = openai.DefaultAsyncHttpxClient(
            # A proxy for the outside cannot reach this machine's own servers; a picture goes to the address
            # that was given and to no other.
            trust_env=not is_local(self._address),
            follow_redirects=False,
            event_hooks={"response": [_limit_body]},
        )
        self._client = openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._address,
            max_retries=0,
            timeout=httpx2.Timeout(self._options.timeout, connect=min(30.0, self._options.timeout)),
            http_client=http,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def check(self) -> None:
        """Check that the server is there and has the model; one without a list of models is believed.

        Raises:
            FileNotFoundError: nothing answers there, or the server does not have the model.
            ValueError: the key is refused.
        """
        try:
            async with asyncio.timeout(min(_CHECK_SECONDS, self._options.timeout)):
                listing = await self._client.get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise ValueError(self._settings_words(error.status_code, server_words(error))) from None
            return
        except (openai.APIConnectionError, TimeoutError):
            raise FileNotFoundError(
                f"the server {self._address} is not reachable: is it running, and is --base-url right?"
            ) from None
        except (ValueError, RecursionError, ReplyTooLongError):
            return
        names = listed_models(listing)
        # Ollama lists "name:latest" and takes "name".
        if names and self._model not in {*names, *(name.removesuffix(":latest") for name in names)}:
            raise FileNotFoundError(
                f"the server {self._address} has no model {self._model}: "
                f"give --model, for example {', '.join(nearest_names(self._model, names))}"
            )

    async def ask(self, request: Request) -> Response:
        """Ask until there is a response, a refusal, or no patience any more.

        Raises:
            EngineDiedError: the server answers nobody, or its settings are wrong.
        """
        image = await asyncio.to_thread(image_url, request.image)
        async with self._places:
            failures = 0
            seen = now = self._answered
            while True:
                await self._backoff.hold()
                seen, now, form = now, self._answered, self._form
                wait, status = None, 0
                try:
                    body = form.body(self._model, request, image)
                    response = read_reply(request.key, await self._post(body))
                except openai.APIStatusError as error:
                    status, words = error.status_code, self.wording.short(server_words(error))
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
                except ReplyTooLongError as error:
                    return self._count_refusal(Response(request.key, error=str(error)))
                except (openai.APITimeoutError, TimeoutError):
                    reason = f"no answer within {self._options.timeout:g} s"
                except openai.APIConnectionError as error:
                    reason = f"no connection or a broken one, {type(error.__cause__ or error).__name__}"
                except BrokenReplyError as error:
                    reason = self.wording.short(str(error))
                else:
                    self._answered += 1
                    self._refusals = 0
                    return response
                # A server that limits the rate and answers others is well: patience, not a failure.
                failures = 0 if status == 429 and self._answered > seen else failures + 1
                if failures > self._options.max_retries:
                    return await self._give_up(request, failures, reason)
                self.retries += 1
                await self._backoff.pause(wait, status, max(1, failures))

    async def _post(self, body: dict[str, Any]) -> object:
        # The timeout of the client starts anew with every byte; this one does not.
        async with asyncio.timeout(self._options.timeout):
            try:
                return await self._client.post("/chat/completions", body=body, cast_to=object)
            except (ValueError, RecursionError):
                raise BrokenReplyError("the answer is no JSON") from None

    def _adapt(self, sent: Form, status: int, words: str) -> bool:
        """Return whether the request is worth sending again in a form that the server may take."""
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
            say(f"the server takes no {sent.difference(better)}; going on with {better.words()}")
        return True

    def _refuse(self, key: RequestKey, status: int, words: str) -> Response:
        if status in _WRONG_SETTINGS:
            raise EngineDiedError(self._settings_words(status, words))
        if status < 400:
            raise EngineDiedError(
                f"the server {self._address} redirects ({status}): give --base-url the address it means"
            )
        return self._count_refusal(Response(key, error=f"the server refused the request: {status} {words}"))

    def _count_refusal(self, response: Response) -> Response:
        self._refusals += 1
        if self._refusals >= _REFUSALS_IN_A_ROW:
            raise EngineDiedError(
                f"the server {self._address} refused {self._refusals} requests in a row, the last with: "
                f"{response.error}"
            )
        return response

    def _settings_words(self, status: int, words: str) -> str:
        words = self.wording.short(words)
        if status in (401, 402, 403):
            return (
                f"the server {self._address} does not let us in ({status} {words}): "
                f"check the key in the environment variable {self._options.key_env} and the account"
            )
        return (
            f"the server {self._address} knows no such model or address ({status} {words}): "
            f"check --model {self._model} and --base-url, which mostly ends in /v1"
        )

    async def _give_up(self, request: Request, failures: int, reason: str) -> Response:
        """Fail one request when the server answers a simple question; else end everything."""
        if await self._answers_at_all(request):
            return self._count_refusal(
                Response(request.key, error=f"the server failed {failures} times on this request: {reason}")
            )
        raise EngineDiedError(
            f"the server {self._address} gave no answer in {failures} attempts ({reason}): "
            "start the command again when it is back, what is finished is kept"
        )

    async def _answers_at_all(self, request: Request) -> bool:
        """Ask about a white square: tells a server that is down from a sticker that it stumbles over.

        That others were answered a moment ago says nothing: the server may have gone since.
        """
        white = await asyncio.to_thread(image_url, Image.new("RGB", (64, 64), "white"))
        body = self._form.body(self._model, request, white)
        body[self._form.limit] = 16
        for pause in (self._backoff.first, 0.0):
            try:
                read_reply(request.key, await self._post(body))
            except (openai.APIError, TimeoutError, BrokenReplyError, ReplyTooLongError):
                await asyncio.sleep(pause)
            else:
                return True
        return False


async def _limit_body(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = LimitedStream(response.stream)
