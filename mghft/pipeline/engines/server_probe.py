"""Simple questions to a server: does it answer, about pictures, and in which form does it want to be asked?

A refusal is never judged by its words. A request that is refused while a simple question in the same form
is answered is refused for its own sake. Where the simple question is refused too, it is asked with nothing
that is optional, without its picture, with another picture; what is optional comes back one by one, and what
the server does not take is left out from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from PIL import Image, ImageDraw

from mghft.pipeline.engines.backoff import Backoff
from mghft.pipeline.engines.base import Request, RequestKey
from mghft.pipeline.engines.openai_protocol import LIMITS, LOGPROBS, OPTIONAL, Failure, Form, image_url
from mghft.pipeline.errors import EngineDiedError, WrongSettingsError
from mghft.pipeline.prompting.pack import Sampling
from mghft.pipeline.views import views_schema

# No key, no money, a proxy without a password: nothing in the request could be asked differently.
_DOOR = {401, 402, 407, 429}

# Tokens that every context has room for.
_SMALL_LIMIT = 32

# Sends the question in a form, with a picture or without; None where it is answered.
Send = Callable[[Request, Form, str | None], Awaitable[Failure | None]]


def first_question(system: str | None, sampling: Sampling) -> Request:
    """Return the question before the first sticker, with the settings of the requests to come."""
    empty = Request(RequestKey("probe"), _white(), "probe", system, "", views_schema(), sampling)
    return question_like(empty)


def question_like(request: Request) -> Request:
    """Return a simple question in the form of a request: its settings, no words or picture of a sticker."""
    keys, words = ", ".join(request.keys), ", ".join(request.choice)
    user = f"Describe the picture as a JSON object with the keys {keys}." if keys else "What is this?"
    if words:
        user = f"Which word fits the picture best: {words}?"
    return replace(request, key=RequestKey("probe"), image=_white(), image_id="probe", user=user)


@dataclass
class ServerProbe:
    """Asks simple questions.

    Attributes:
        send: sends one.
        max_retries: patience with a server in passing trouble.
        demanded: the way of forcing JSON was chosen by name and is not given up.
        answered: a simple question was answered in some form.
    """

    address: str
    send: Send
    backoff: Backoff
    max_retries: int
    demanded: bool
    answered: bool = False
    # The first that is answered is asked about: a server may have something against one of them.
    _pictures: list[str] = field(default_factory=lambda: [image_url(_white()), image_url(_drawn())])

    async def settle(self, form: Form, request: Request, *, known: bool) -> Form:
        """Return the form in which the server answers a simple question, the given one where it does.

        Args:
            form: the one in use.
            request: whose settings the question has.
            known: the server has answered others, so a fault inside it may pass.

        Raises:
            EngineDiedError: nothing is answered now.
            WrongSettingsError: nothing will be answered, or nothing about pictures.
        """
        question = question_like(request)
        failure = await self._ask_twice(form, question, known)
        if failure is None:
            return form
        if failure.status in _DOOR or 300 <= failure.status < 400:
            raise UnansweredError(failure)
        if await self._ask(form, question, self._pictures[1]) is None:
            # It was about the picture: from now on the other one is asked about first.
            self._pictures.reverse()
            return form
        base = await self._simplest(form, question, failure)
        return await self._fullest(base, form, question, failure)

    async def answers(self, form: Form, request: Request) -> bool:
        """Return whether a simple question is answered, now or a moment later."""
        question = question_like(request)
        for pause in (self.backoff.first, 0.0):
            if await self.send(question, form, self._pictures[0]) is None:
                return True
            await self.backoff.sleep(pause)
        return False

    async def _ask_twice(self, form: Form, question: Request, known: bool) -> Failure | None:
        failure = await self._ask(form, question, self._pictures[0], known=known)
        if failure is not None:
            await self.backoff.sleep(self.backoff.first)
            failure = await self._ask(form, question, self._pictures[0], known=known)
        return failure

    async def _ask(
        self, form: Form, question: Request, picture: str | None, *, known: bool = False
    ) -> Failure | None:
        """Ask once, but with patience for what passes."""
        failures = 0
        while True:
            await self.backoff.hold()
            failure = await self.send(question, form, picture)
            if failure is None:
                self.answered = True
                return None
            if failure.kind == "refused" or (failure.kind == "broken" and not known):
                return failure
            failures += 1
            if failures > self.max_retries:
                raise EngineDiedError(
                    f"the server {self.address} gave no answer in {failures} attempts ({failure}): "
                    "start the command again when it is back, what is finished is kept"
                )
            await self.backoff.pause(failure.wait, failure.status, failures)

    async def _simplest(self, form: Form, question: Request, failure: Failure) -> Form:
        """Return a form without anything optional that is answered.

        Raises:
            WrongSettingsError: there is none, or only without a picture.
        """
        base = form.simplest()
        if await self._ask(base, question, self._pictures[0]) is None:
            return base
        if await self._ask(base, question, None) is None:
            if await self._ask(base, question, self._pictures[1]) is None:
                self._pictures.reverse()
                return base
            raise WrongSettingsError(
                f"the server {self.address} answers questions, but none about a picture ({failure}): give a "
                "model that takes pictures, and start its server with all its files (llama.cpp: --mmproj)"
            )
        if question.system and not form.folded:
            folded = replace(base, folded=True)
            if await self._ask(folded, question, self._pictures[0]) is None:
                return folded
        for limit in LIMITS[LIMITS.index(form.limit) + 1 :]:
            other = replace(base, limit=limit)
            if await self._ask(other, question, self._pictures[0]) is None:
                if limit is None:
                    await self._check_limit(base, question, failure)
                return other
        streamed = replace(base, streamed=True)
        if await self._ask(streamed, question, self._pictures[0]) is None:
            return streamed
        raise UnansweredError(failure)

    async def _check_limit(self, base: Form, question: Request, failure: Failure) -> None:
        """Check that it is the limit's name which is not taken, and not its size.

        Raises:
            WrongSettingsError: a smaller limit is taken.
        """
        sampling = question.sampling
        small = replace(question, sampling=sampling.model_copy(update={"max_tokens": _SMALL_LIMIT}))
        if sampling.max_tokens > _SMALL_LIMIT and await self._ask(base, small, self._pictures[0]) is None:
            raise WrongSettingsError(
                f"the server {self.address} takes no limit of {sampling.max_tokens} tokens ({failure}): "
                "lower max_tokens in the prompt pack, or raise the server's context"
            )

    async def _fullest(self, base: Form, form: Form, question: Request, failure: Failure) -> Form:
        """Return the form with all of the given one that the server takes, tried one by one."""
        best = base
        for structure in form.structures():
            fuller = replace(best, structured=structure.structured, loose=structure.loose)
            if self.demanded and fuller.structured != form.structured:
                continue
            if await self._takes(fuller, question):
                best = fuller
                break
        if self.demanded and best.structured != form.structured:
            raise WrongSettingsError(
                f"the server {self.address} refuses structured={form.structured} ({failure}): "
                "set server.structured to auto"
            )
        for name in (*OPTIONAL, LOGPROBS):
            fuller = replace(best, left_out=best.left_out - {name})
            unsent = fuller.options(question) == best.options(question)
            if name not in form.left_out and (unsent or await self._takes(fuller, question)):
                best = fuller
        return best

    async def _takes(self, form: Form, question: Request) -> bool:
        """Return whether a form is answered about either picture: one refusal may be about that picture."""
        for picture in self._pictures:
            failure = await self._ask(form, question, picture)
            if failure is None:
                return True
        return (
            failure is not None
            and failure.kind == "broken"
            and (await self._ask(form, question, self._pictures[0]) is None)
        )


class UnansweredError(WrongSettingsError):
    """Nothing is answered in any form; whoever knows the settings says which may be wrong."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _white() -> Image.Image:
    return Image.new("RGB", (64, 64), "white")


def _drawn() -> Image.Image:
    """Draw a face: large enough for every server, and nothing that a filter could mind."""
    image = Image.new("RGB", (256, 256), (90, 160, 220))
    pen = ImageDraw.Draw(image)
    pen.ellipse((32, 32, 224, 224), fill=(255, 220, 60))
    pen.ellipse((84, 92, 108, 124), fill="black")
    pen.ellipse((148, 92, 172, 124), fill="black")
    pen.arc((84, 120, 172, 184), 0, 180, fill="black", width=8)
    return image
