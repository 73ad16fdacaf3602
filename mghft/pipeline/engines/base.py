"""Engines as a run knows them: requests about images, responses to them, and how both pass."""

from __future__ import annotations

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
        schema: JSON schema of the text.
    """

    key: RequestKey
    image: Image.Image
    image_id: str
    system: str | None
    user: str
    schema: dict[str, Any]
    sampling: Sampling


@dataclass(frozen=True)
class Response:
    """The text that an engine wrote, or (`error`) why it refused."""

    key: RequestKey
    text: str = ""
    finish_reason: str = "error"
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


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
