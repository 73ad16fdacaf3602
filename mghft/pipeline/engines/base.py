"""Engines as a run knows them: requests about images, responses to them, and how both pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mghft.pipeline.prompting.pack import Sampling

if TYPE_CHECKING:
    from PIL import Image


class RequestKey(NamedTuple):
    """The name of a question: about a sticker, for one view or (None) for all at once."""

    sticker_id: str
    view: str | None = None


@dataclass(frozen=True)
class Request:
    """One question about one image.

    Attributes:
        key: comes back in the response and is how both are joined; unique among the requests in work. An
            engine hands it back and does not look into it.
        image: RGB.
        image_id: names the content of the image (its hash), so that an engine reads equal images once.
        schema: JSON schema of the text; None leaves the text free.
        choice: the text is one of these and nothing else; then there is no schema.
        score: words whose log-probabilities as the first token are wanted, in place of a schema or choice.
    """

    key: RequestKey
    image: Image.Image
    image_id: str
    system: str | None
    user: str
    schema: dict[str, Any] | None
    sampling: Sampling
    choice: tuple[str, ...] = ()
    score: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the JSON object that is asked for; none where it is no object."""
        return () if self.schema is None else tuple(self.schema["required"])


@dataclass(frozen=True)
class Response:
    """The text that an engine wrote, or (`error`) why it refused.

    Attributes:
        logprobs: natural log-probability of every word of the request's `score` as the first token, before
            temperature; None where none were asked for, or the engine gives none.
        unseen: how many of them a server did not tell; these have the smallest value that it did tell, which
            is above their own.
    """

    key: RequestKey
    text: str = ""
    finish_reason: str = "error"
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None
    logprobs: Mapping[str, float] | None = None
    unseen: int = 0


class Engine(Protocol):
    """A taker of requests, one by one, which gives responses as they are finished, in any order.

    A request that cannot be answered costs one `Response` with an error, never its neighbours, never the run.
    Used from one thread.
    """

    @property
    def capacity(self) -> int:
        """Return how many requests it wants in work at once; fewer leave it idle, more only cost memory."""
        ...

    def submit(self, request: Request) -> None:
        """Take a request and return at once.

        Raises:
            EngineDiedError: it can take no more, now or later.
        """
        ...

    def collect(self) -> list[Response]:
        """Let the engine work for a moment; return what is finished, which may be nothing yet.

        It does not wait for long: what became ready meanwhile is submitted between two calls.

        Raises:
            EngineDiedError: it will finish nothing any more.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; requests in work are dropped."""
        ...
