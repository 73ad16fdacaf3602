"""OpenAI's chat protocol without the sending: requests are written, refusals and lists are read.

Servers differ in what they take; `Form` is what this one takes, found out by asking (`server_probe`).
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Literal, NamedTuple

import openai
from PIL import Image

from mghft.pipeline.engines.base import Request
from mghft.pipeline.engines.openai_reply import error_words
from mghft.pipeline.engines.openai_scoring import TOP_LOGPROBS, choice_schema, choice_words
from mghft.pipeline.html import data_url
from mghft.pipeline.text import one_line, valid_utf8

# Settings that a request can do without, one that few requests have, and the names of the limit of tokens,
# the usual one first.
OPTIONAL = ("temperature", "seed", "top_p")
LOGPROBS = "logprobs"
LIMITS = ("max_tokens", "max_completion_tokens", None)
# What a schema can do without, step by step, and how it is called.
_LOOSE: tuple[set[str], ...] = ({"minLength", "maxLength"}, {"additionalProperties"})
_LOOSE_WORDS = ("limits on texts", "strictness")
_LONGEST_WORDS = 300
# What 429 means where no waiting helps: OpenAI, Moonshot, Zhipu and others say so in a code or in words.
_NO_MONEY = re.compile(
    r"insufficient|exceeded_current_quota|billing|balance|arrear|credits? (?:exhaust|deplet)|余额|欠费", re.I
)
# Of the server's passing trouble: time-outs, conflicts, too early, too many, no room, a gateway's errors.
_MOMENTS = {408, 409, 423, 424, 425, 429, 498, 499}
_LASTING_ERRORS = {500, 501, 505}

Kind = Literal["moment", "broken", "refused"]


class Failure(NamedTuple):
    """A request that got no response.

    Attributes:
        status: HTTP status, 0 for none.
        words: the server's own, fit to be shown.
        kind: "moment", passing trouble by its nature; "broken", an answer that cannot be read or a fault
            inside the server, which may pass or not; "refused", an answer that says no.
        wait: seconds that the server asks for.
    """

    status: int
    words: str
    kind: Kind
    wait: float | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.words}" if self.status else self.words


def kind_of(status: int, wait: float | None = None, said: str = "") -> Kind:
    """Return what a failure seems to be: how to ask on, not yet what to conclude.

    Args:
        status: HTTP status, 0 for none.
        wait: seconds that the server asks for.
        said: its code and words.
    """
    if status == 429 and _NO_MONEY.search(said):
        return "refused"
    if wait is not None or status in _MOMENTS or (status > 500 and status not in _LASTING_ERRORS):
        return "moment"
    return "broken" if status == 0 or status >= 500 else "refused"


@dataclass(frozen=True)
class Form:
    """The form in which requests are written for this server.

    Attributes:
        structured: how JSON is forced: "schema", "object" or "none".
        loose: how much the schema goes without: 1, limits on texts, which OpenAI's strict mode does not take
            everywhere; 2, strict mode and the ban on further keys too, which Gemini's layer did not take.
        limit: name of the limit of tokens, None for no limit; newer models of OpenAI want another.
        left_out: settings that the server does not take.
        folded: the system message stands before the user's words, for models that know no such role.
        streamed: answers come piece by piece, for models that can do nothing else.
    """

    structured: str
    loose: int = 0
    limit: str | None = "max_tokens"
    left_out: frozenset[str] = frozenset()
    folded: bool = False
    streamed: bool = False

    def body(self, model: str, request: Request, image: str | None) -> dict[str, Any]:
        """Return a request as the server gets it; the image first, as for the engine in this process."""
        fold = self.folded and request.system
        words = f"{request.system}\n\n{request.user}" if fold else request.user
        if request.choice and self.structured != "none":
            words = f"{words}\n{choice_words()}"
        content: list[dict[str, Any]] = [{"type": "text", "text": words}]
        if image is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": image}})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system and not fold:
            messages.insert(0, {"role": "system", "content": request.system})
        return {"model": model, "messages": messages, **self.options(request)}

    def options(self, request: Request) -> dict[str, Any]:
        """Return all of a request's body but its model and messages."""
        sampling = request.sampling
        options: dict[str, Any] = {} if self.limit is None else {self.limit: sampling.max_tokens}
        for name in OPTIONAL:
            # What changes nothing is not sent: servers refuse top_p beside temperature, whatever it says.
            if name not in self.left_out and not (name == "top_p" and sampling.top_p == 1.0):
                options[name] = getattr(sampling, name)
        if request.score and LOGPROBS not in self.left_out:
            options |= {LOGPROBS: True, "top_logprobs": TOP_LOGPROBS}
        wanted = choice_schema(request.choice) if request.choice else request.schema
        if wanted is not None and self.structured == "schema":
            schema: dict[str, Any] = {"name": "answer" if request.choice else "views", "strict": True}
            if self.loose == len(_LOOSE):
                del schema["strict"]
            schema["schema"] = _without(wanted, set().union(*_LOOSE[: self.loose]))
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif wanted is not None and self.structured == "object":
            options["response_format"] = {"type": "json_object"}
        if self.streamed:
            options |= {"stream": True, "stream_options": {"include_usage": True}}
        return options

    def simplest(self) -> Form:
        """Return the form without anything that is optional."""
        return replace(self, structured="none", loose=0, left_out=frozenset((*OPTIONAL, LOGPROBS)))

    def structures(self) -> list[Form]:
        """Return this form and those that force JSON less, the strictest first; "none" is not among them."""
        if self.structured == "none":
            return []
        levels = range(self.loose, len(_LOOSE) + 1) if self.structured == "schema" else ()
        schemas = [replace(self, loose=level) for level in levels]
        return [*schemas, replace(self, structured="object", loose=0)]

    def difference(self, better: Form) -> str:
        """Return what of this form the better one does without."""
        lost = []
        if self.structured != better.structured:
            lost.append({"schema": "JSON schema", "object": "JSON mode"}[self.structured])
        elif self.loose != better.loose:
            lost.append(f"{_LOOSE_WORDS[better.loose - 1]} in a JSON schema")
        if self.limit != better.limit:
            lost.append(str(self.limit))
        if self.folded != better.folded:
            lost.append("system message")
        if self.streamed != better.streamed:
            lost.append("answer in one piece")
        return ", ".join([*lost, *sorted(better.left_out - self.left_out)])

    def words(self) -> str:
        """Return the form in words."""
        without = f", without {', '.join(sorted(self.left_out))}" if self.left_out else ""
        limit = self.limit or "no limit of tokens"
        loose = f" without {_LOOSE_WORDS[self.loose - 1]}" if self.loose else ""
        return f"structured={self.structured}{loose}, {limit}{without}{', streamed' * self.streamed}"


class Wording:
    """Others' words made fit for a message: short, one line, without the key and without pictures."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Wording()"

    def short(self, words: str) -> str:
        """Return the words as they may be shown."""
        if self._key:
            words = words.replace(self._key, "***")
        return one_line(valid_utf8(re.sub(r"[A-Za-z0-9+/=]{200,}", "…", words)), _LONGEST_WORDS)


def server_words(error: openai.APIStatusError) -> str:
    """Return what the server itself said about an error."""
    words = error_words(error.body) or "without a word"
    return f"{words} ({error.param})" if error.param and error.param not in words else words


def listed_models(reply: object) -> list[str]:
    """Return the names in a server's list of models; none where it is no such list."""
    entries = reply
    if isinstance(reply, dict):
        entries = reply.get("data") if isinstance(reply.get("data"), list) else reply.get("models")
    names = []
    for entry in entries if isinstance(entries, list) else []:
        name = (
            next((entry[key] for key in ("id", "name") if key in entry), None)
            if isinstance(entry, dict)
            else entry
        )
        if isinstance(name, str):
            names.append(name)
    return names


def is_listed(model: str, names: list[str]) -> bool:
    """Return whether a server lists a model; it may write "models/" before a name or ":latest" behind."""
    return any(model in (name, name.removesuffix(":latest"), name.removeprefix("models/")) for name in names)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server wants us to wait: a number, a date, or OpenAI's milliseconds."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            continue
        return max(0.0, seconds) if not math.isnan(seconds) else None
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def image_url(image: Image.Image) -> str:
    """Return the image as PNG in a data URL."""
    file = BytesIO()
    # A copy: `save` writes on the image object, and requests of one sticker share it among threads.
    # Level 1 halves the time of packing and decides nothing about the picture.
    image.copy().save(file, "PNG", compress_level=1)
    return data_url(file.getvalue(), "image/png")


def _without(schema: Any, names: set[str]) -> Any:
    if isinstance(schema, dict):
        return {key: _without(value, names) for key, value in schema.items() if key not in names}
    return [_without(part, names) for part in schema] if isinstance(schema, list) else schema
