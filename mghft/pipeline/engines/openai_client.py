"""One server that speaks OpenAI's chat protocol, asked with patience: retries, refusals, JSON asked for.

The `openai` client speaks the protocol; retries are ours, since its own end at a wait of two minutes, know
nothing of each other, and take a reply that is no JSON for a response. What is sent and received is written
and read by `openai_protocol` and `openai_reply`; what a refusal is about is found out by `server_probe`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx2
import openai

from mghft.pipeline.engines.backoff import Backoff
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.engines.endpoint import (
    check_address,
    is_local,
    nearest_names,
    other_addresses,
    plain_address,
    read_key,
)
from mghft.pipeline.engines.http_client import ReplyTooLongError, open_http
from mghft.pipeline.engines.openai_protocol import (
    Failure,
    Form,
    Wording,
    image_url,
    is_listed,
    kind_of,
    listed_models,
    retry_after,
    server_words,
)
from mghft.pipeline.engines.openai_reply import BrokenReplyError, parse_body, read_reply
from mghft.pipeline.engines.openai_scoring import read_scored
from mghft.pipeline.engines.options import ServerOptions
from mghft.pipeline.engines.server_probe import ServerProbe, UnansweredError
from mghft.pipeline.errors import EngineDiedError, WrongSettingsError
from mghft.pipeline.progress import say

_CHECK_SECONDS = 30.0


class ChatClient:
    """A model on a server; an asynchronous context manager around the connections.

    A failure is the request's own when the server answers a simple question in the same form (then it costs
    one `Response`), else the server's (then `EngineDiedError`) or that of the form, which changes for all.

    Args:
        model: its name on the server.
        options: address, key, limits.
        backoff: seconds before the first retry, doubled by each further one.

    Attributes:
        retries: requests that were sent again so far.
        wording: makes the server's words fit for a message.

    Raises:
        ValueError: the address or the key is no good, or the environment's proxy or certificates.
    """

    def __init__(self, model: str, options: ServerOptions, *, backoff: float) -> None:
        self._address = check_address(options.base_url)
        self._model, self._options = model, options
        key = read_key(options.key_env, local=is_local(self._address))
        self.wording = Wording(key)
        if key is not None and self._address.startswith("http:") and not is_local(self._address):
            say(f"the key goes to {self._address} unencrypted: use https where the server has it")
        # Built here and not in the loop: what is wrong in the environment ends the start at once.
        self._client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=self._address,
            max_retries=0,
            timeout=httpx2.Timeout(options.timeout, connect=min(30.0, options.timeout)),
            http_client=open_http(self._address),
        )
        self._backoff = Backoff(self._address, backoff)
        demanded = options.structured != "auto"
        self._form = Form(options.structured if demanded else "schema")
        self._probe = ServerProbe(
            self._address, self._send_simple, self._backoff, options.max_retries, demanded
        )
        self._settling = asyncio.Lock()
        self._places = asyncio.Semaphore(options.concurrency)
        self._lists_models = False
        self._unlisted: list[str] = []
        self.retries = self._answered = 0
        # Responses by the settings of their request: what was answered just now is not refused for its form.
        self._answered_with: Counter[str] = Counter()

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def check(self, first: Request) -> None:
        """Ask a simple question before the first sticker: what would fail all of them ends here.

        Args:
            first: the question, with the settings of the requests to come.

        Raises:
            FileNotFoundError: nothing answers there.
            WrongSettingsError: the server does not let us in, does not know the model, takes no pictures …
            EngineDiedError: it is in trouble that does not pass.
        """
        try:
            names = listed_models(await self._get("/models"))
        except (openai.APIConnectionError, TimeoutError):
            raise FileNotFoundError(
                f"the server {self._address} is not reachable: is it running, and is --base-url right?"
            ) from None
        self._lists_models = bool(names)
        if names and not is_listed(self._model, names):
            # Lists name base models and leave out deployments and routes: the server decides.
            self._unlisted = nearest_names(self._model, names)
            say(
                f"the server does not list the model {self._model}, and is asked for it all the same; "
                f"it lists {', '.join(self._unlisted)}"
            )
        await self._settle(self._form, first, known=False)

    async def ask(self, request: Request) -> Response:
        """Ask until there is a response, a refusal, or no patience any more.

        Raises:
            EngineDiedError: the server answers nobody, or its settings are wrong.
        """
        image = await asyncio.to_thread(image_url, request.image)
        async with self._places:
            failures = refusals = 0
            seen = now = self._answered
            while True:
                await self._backoff.hold()
                seen, now, form = now, self._answered, self._form
                settings = json.dumps([request.system, form.options(request)], sort_keys=True)
                proofs = self._answered_with[settings]
                outcome = await self._send(request, form, image)
                if isinstance(outcome, Response):
                    self._answered += 1
                    self._answered_with[settings] += 1
                    return outcome
                # A fault inside the server may be its way to refuse settings that it never answered.
                if outcome.kind == "refused" or (outcome.kind == "broken" and not proofs):
                    refusals += 1
                    if refusals > 1 and await self._adapts(request, form, settings, proofs):
                        failures = refusals = 0
                        continue
                    if refusals > 1 and outcome.kind == "refused":
                        return Response(request.key, error=f"the server refused the request: {outcome}")
                if outcome.kind != "refused":
                    # A server that limits the rate and answers others is well: patience, not a failure.
                    passing = outcome.status == 429 and self._answered > seen
                    failures = 0 if passing else failures + 1
                    if failures > self._options.max_retries:
                        return await self._give_up(request, form, failures, outcome)
                self.retries += 1
                await self._backoff.pause(outcome.wait, outcome.status, max(1, failures))

    async def _adapts(self, request: Request, form: Form, settings: str, proofs: int) -> bool:
        """Return whether a failure is about the form, which is another now; else it is the request's own.

        Raises:
            EngineDiedError: it is about all requests.
        """
        # Asked one at a time: what one refusal teaches, the others need not find out again.
        async with self._settling:
            if self._form != form:
                return True
            if self._answered_with[settings] > proofs:
                return False
            if await self._settle(form, request, known=proofs > 0):
                return True
            self._answered_with[settings] += 1
            return False

    async def _settle(self, form: Form, request: Request, *, known: bool) -> bool:
        """Ask a simple question with the settings of a request; return whether it took another form.

        Args:
            form: the one in use.
            request: whose settings the question has.
            known: whether the server has answered with these settings before.
        """
        before = self._probe.answered
        try:
            better = await self._probe.settle(form, request, known=known)
        except UnansweredError as error:
            if error.failure.kind == "broken" and before:
                # It did answer once: a fault that now meets everything may pass.
                return False
            raise WrongSettingsError(await self._settings_words(error.failure)) from None
        if better == form:
            return False
        self._form = better
        say(f"the server takes no {form.difference(better)}; going on with {better.words()}")
        return True

    async def _give_up(self, request: Request, form: Form, failures: int, last: Failure) -> Response:
        """Fail one request when the server answers a simple question; else end everything.

        That others were answered a moment ago says nothing: the server may have gone since.
        """
        if await self._probe.answers(form, request):
            return Response(request.key, error=f"the server failed {failures} times on this request: {last}")
        raise EngineDiedError(
            f"the server {self._address} gave no answer in {failures} attempts ({last}): "
            "start the command again when it is back, what is finished is kept"
        )

    async def _send_simple(self, question: Request, form: Form, picture: str | None) -> Failure | None:
        outcome = await self._send(question, form, picture)
        return outcome if isinstance(outcome, Failure) else None

    async def _send(self, request: Request, form: Form, image: str | None) -> Response | Failure:
        """Send a request once; what comes back instead of a response is told as what it is."""
        try:
            body = parse_body(await self._post(form.body(self._model, request, image)))
            if request.choice or request.score:
                return read_scored(request, body)
            return read_reply(request.key, body, request.keys)
        except openai.APIStatusError as error:
            status, words = error.status_code, self.wording.short(server_words(error))
            if 300 <= status < 400:
                words = self.wording.short(plain_address(error.response.headers.get("location", "")))
            wait = retry_after(error.response.headers)
            return Failure(status, words, kind_of(status, wait, f"{error.code} {error.type} {words}"), wait)
        except ReplyTooLongError as error:
            return Response(request.key, error=str(error))
        except (openai.APITimeoutError, TimeoutError):
            return Failure(0, f"no answer within {self._options.timeout:g} s", "moment")
        except openai.APIConnectionError as error:
            broken = type(error.__cause__ or error).__name__
            return Failure(0, f"no connection or a broken one, {broken}", "moment")
        except BrokenReplyError as error:
            return Failure(error.status, self.wording.short(str(error)), kind_of(error.status))

    async def _post(self, body: dict[str, Any]) -> bytes:
        # The timeout of the client starts anew with every byte; this one does not.
        async with asyncio.timeout(self._options.timeout):
            response = await self._client.post("/chat/completions", body=body, cast_to=httpx2.Response)
        return response.content

    async def _get(self, path: str) -> object:
        """Return what the server says at a path, None where that is an error or nothing readable."""
        try:
            async with asyncio.timeout(min(_CHECK_SECONDS, self._options.timeout)):
                response = await self._client.get(path, cast_to=httpx2.Response)
            return parse_body(response.content)
        except (openai.APIStatusError, BrokenReplyError, ReplyTooLongError):
            return None

    async def _settings_words(self, failure: Failure) -> str:
        """Say which setting may be wrong when the server answers nothing, whatever it is asked."""
        if 300 <= failure.status < 400:
            return f"the server {self._address} redirects ({failure}): give --base-url the address it means"
        if failure.status in (402, 429):
            return (
                f"the account at {self._address} has no money left ({failure}): "
                "fill it up, or give another key"
            )
        if failure.status in (401, 403, 407):
            return (
                f"the server {self._address} does not let us in ({failure}): check the key in the "
                f"environment variable {self._options.key_env} and the account"
            )
        # Where there is a list of models the address is right.
        for address in [] if self._lists_models else other_addresses(self._address):
            try:
                found = listed_models(await self._get(f"{address}/models"))
            except (openai.APIConnectionError, TimeoutError):
                break
            if found:
                return (
                    f"the server {self._address} answers no question ({failure}): give --base-url {address}"
                )
        hints = [f"check --model {self._model}"]
        if self._unlisted:
            hints.append(f"it lists {', '.join(self._unlisted)}")
        if not self._lists_models:
            hints.append("and --base-url, which mostly ends in /v1")
        return (
            f"the server {self._address} answers no question ({failure}): "
            f"{', '.join(hints)}, and see the server's own log"
        )
