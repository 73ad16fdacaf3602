"""OpenAI's chat protocol without the sending: requests are written, replies are read.

Servers differ in what they take; `Form` is what this one takes, found out from its refusals.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import httpx2
import openai
from PIL import Image

from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.html import data_url
from mghft.pipeline.text import one_line, valid_utf8

MAX_BODY_BYTES = 8 * 1024 * 1024
_STEPS = ("schema", "object", "none")
_ABOUT_FORMAT = re.compile(
    r"response_?format|json_?(schema|object|mode)|json schema|structured|guided|grammar", re.I
)
_NOT_TAKEN = re.compile(
    r"support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra|instead", re.I
)
_DROPPABLE = ("seed", "temperature", "top_p")
_TEXT_LIMITS = {"minLength", "maxLength"}
# Braces in prose that are no JSON; a text with more of them is not worth the search.
_MAX_BRACES = 100
_LONGEST_WORDS = 300


class BrokenReplyError(Exception):
    """A reply without a response in it: cut, no JSON, or without choices; worth asking again."""


class ReplyTooLongError(Exception):
    """A reply over the limit of bytes."""


class LimitedStream(httpx2.AsyncByteStream):
    """A body that ends in `ReplyTooLongError` instead of in full memory."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise ReplyTooLongError(f"the server's answer is larger than {MAX_BODY_BYTES >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()


@dataclass(frozen=True)
class Form:
    """The form in which requests are written for this server.

    Attributes:
        structured: how JSON is forced: "schema", "object" or "none".
        bare: the schema goes without limits on texts, which OpenAI's strict mode does not take everywhere.
        limit: name of the limit of tokens; newer models of OpenAI want another.
        left_out: settings that the server does not take.
    """

    structured: str
    bare: bool = False
    limit: str = "max_tokens"
    left_out: frozenset[str] = frozenset()

    def body(self, model: str, request: Request, image: str) -> dict[str, Any]:
        """Return a request as the server gets it; the image first, as for the engine in this process."""
        content = [
            {"type": "image_url", "image_url": {"url": image}},
            {"type": "text", "text": request.user},
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system:
            messages.insert(0, {"role": "system", "content": request.system})
        body: dict[str, Any] = {"model": model, "messages": messages, self.limit: request.sampling.max_tokens}
        for name in _DROPPABLE:
            if name not in self.left_out:
                body[name] = getattr(request.sampling, name)
        if self.structured == "schema":
            schema = _without_text_limits(request.schema) if self.bare else request.schema
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "views", "strict": True, "schema": schema},
            }
        elif self.structured == "object":
            body["response_format"] = {"type": "json_object"}
        return body

    def after(self, refusal: str) -> Form | None:
        """Return the form to try after this refusal; None when it is about something else."""
        if _NOT_TAKEN.search(refusal):
            if self.limit == "max_tokens" and "max_completion_tokens" in refusal:
                return replace(self, limit="max_completion_tokens")
            for name in _DROPPABLE:
                if name not in self.left_out and re.search(rf"\b{name}\b", refusal):
                    return replace(self, left_out=self.left_out | {name})
        if self.structured == "schema" and not self.bare and any(name in refusal for name in _TEXT_LIMITS):
            return replace(self, bare=True)
        if self.structured != "none" and _ABOUT_FORMAT.search(refusal):
            return replace(self, structured=_STEPS[_STEPS.index(self.structured) + 1])
        return None

    def difference(self, better: Form) -> str:
        """Return what of this form the better one does without."""
        if self.structured != better.structured:
            return {"schema": "JSON schema", "object": "JSON mode"}[self.structured]
        if self.bare != better.bare:
            return "limits on texts in a JSON schema"
        return ", ".join(better.left_out - self.left_out) or self.limit

    def words(self) -> str:
        """Return the form in words."""
        without = f", without {', '.join(sorted(self.left_out))}" if self.left_out else ""
        return f"structured={self.structured}{' without limits on texts' * self.bare}, {self.limit}{without}"


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
    body: object = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body.get("error") or dict(body)
    words = str(body or "").strip() or "without a word"
    return f"{words} ({error.param})" if error.param and error.param not in words else words


def listed_models(reply: object) -> list[str]:
    """Return the names in a server's list of models; none where it is no such list."""
    entries = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(entries, list):
        return []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry]


def read_reply(key: RequestKey, reply: object) -> Response:
    """Return the response in a reply to the request with this key.

    Raises:
        BrokenReplyError: it has none.
    """
    if isinstance(reply, str):
        # Servers that forget the content type.
        try:
            reply = json.loads(reply)
        except (ValueError, RecursionError):
            raise BrokenReplyError("the answer is no JSON") from None
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(reply, dict) or not isinstance(first, dict) or not isinstance(message, dict):
        error = reply.get("error") if isinstance(reply, dict) else None
        raise BrokenReplyError(f"the answer has no choices{f', but the error {error}' if error else ''}")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise BrokenReplyError("the answer's content is no text")
    usage = reply.get("usage")
    reason = first.get("finish_reason")
    problem = None
    if reason == "content_filter":
        problem = "the server's content filter stopped the answer"
    elif refusal := message.get("refusal"):
        problem = f"the model refused: {Wording(None).short(str(refusal))}"
    return Response(
        key,
        text=extract_json(text),
        finish_reason=reason if isinstance(reason, str) else "unknown",
        prompt_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
        error=problem,
    )


def extract_json(text: str) -> str:
    """Return the first JSON object in a text (models wrap it in fences or prose), or the text without one."""
    # What a reasoning model thinks aloud may hold drafts of the object.
    said = text.rpartition("</think>")[2] if text.lstrip().startswith("<think>") else text
    decoder = json.JSONDecoder(strict=False)
    start = said.find("{")
    for _ in range(_MAX_BRACES):
        if start < 0:
            break
        try:
            found, end = decoder.raw_decode(said, start)
        except (ValueError, RecursionError):
            start = said.find("{", start + 1)
            continue
        if isinstance(found, dict):
            return said[start:end]
    return text


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


def _without_text_limits(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_text_limits(v) for k, v in schema.items() if k not in _TEXT_LIMITS}
    return [_without_text_limits(part) for part in schema] if isinstance(schema, list) else schema


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
