"""Engines: what answers questions about stickers. The run knows only `Request`, `Answer` and `Engine`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mghft.pipeline.prompting.pack import Sampling

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Request:
    """One question about one image.

    Attributes:
        key: comes back in the answer and is how both are joined; unique among the requests in work.
        image: RGB.
        image_id: names the content of the image (its hash), so that an engine reads equal images once.
        schema: JSON schema of the answer.
    """

    key: str
    image: Image.Image
    image_id: str
    system: str | None
    user: str
    schema: dict[str, Any]
    sampling: Sampling


@dataclass(frozen=True)
class Response:
    """What the engine wrote, or (`error`) why it refused."""

    key: str
    text: str = ""
    finish_reason: str = "error"
    prompt_tokens: int = 0
    output_tokens: int = 0
    error: str | None = None


class Engine(Protocol):
    """Takes requests one by one and gives answers as they are finished, in any order.

    A request that cannot be answered costs one `Answer` with an error, never its neighbours, never the run.
    Used from one thread.
    """

    @property
    def capacity(self) -> int:
        """How many requests it wants to have in work at once; fewer leave it idle, more only cost memory."""
        ...

    def submit(self, request: Request) -> None:
        """Takes a request; returns at once.

        Raises:
            EngineDiedError: it can take no more, now or later.
        """
        ...

    def collect(self) -> list[Response]:
        """Lets the engine work for a moment and gives back what is finished, which may be nothing yet.

        It does not wait for long: what became ready meanwhile is submitted between two calls.

        Raises:
            EngineDiedError: it will finish nothing any more.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds; requests in work are dropped."""
        ...
