"""Choices and log-probabilities on servers: how they are asked for, and how replies with them are read.

A choice goes as a JSON schema with `enum`, which every server with structured output knows. Servers tell the
log-probabilities of the likeliest tokens alone: a word that is not among them gets the smallest value told,
an upper bound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.engines.openai_reply import read_reply

# The most that OpenAI's protocol knows.
TOP_LOGPROBS = 20
_KEY = "answer"
# Blanks as byte-level vocabularies and SentencePiece write them, where a server hands tokens out as they are.
_BLANKS = "\u0120\u2581 \t\r\n"


def choice_schema(choice: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an object whose one value is one of these words."""
    return {
        "type": "object",
        "properties": {_KEY: {"type": "string", "enum": list(choice)}},
        "required": [_KEY],
        "additionalProperties": False,
    }


def choice_words() -> str:
    """Return what a prompt says about the object; OpenAI's JSON mode refuses prompts without the word."""
    return f'Write the answer as a JSON object with the key "{_KEY}".'


def read_scored(request: Request, reply: object) -> Response:
    """Return the response to a request for a choice or for log-probabilities.

    Raises:
        BrokenReplyError: it has none.
    """
    if request.choice:
        response = read_reply(request.key, reply, (_KEY,))
        return replace(response, text=_chosen(response.text))
    response = read_reply(request.key, reply, ())
    logprobs, unseen = read_logprobs(reply, request.score)
    # One token is asked for: that the text is empty, or cut there, is no fault.
    ended = response.finish_reason in ("stop", "length")
    return replace(response, error=None if ended else response.error, logprobs=logprobs, unseen=unseen)


def read_logprobs(reply: object, words: Sequence[str]) -> tuple[dict[str, float] | None, int]:
    """Read the log-probabilities of words as the first token of a reply.

    Tokens that spell the same word, alone or behind a blank, are summed.

    Returns:
        The log-probability of every word, None where the reply has none at all; and how many words were not
        among the tokens told and got the smallest value told.
    """
    told = _first_token(reply)
    if not told:
        return None, 0
    sums = dict.fromkeys(words, 0.0)
    for token, value in told:
        plain = token.strip(_BLANKS)
        if plain in sums:
            sums[plain] += math.exp(value)
    smallest = min(value for _, value in told)
    unseen = sum(value == 0.0 for value in sums.values())
    return {word: math.log(value) if value else smallest for word, value in sums.items()}, unseen


def _first_token(reply: object) -> list[tuple[str, float]]:
    """Return the likeliest tokens in the first place with their log-probabilities."""
    try:
        first = reply["choices"][0]["logprobs"]["content"][0]  # type: ignore[index]
        entries = [*(first.get("top_logprobs") or ()), first]
    except (LookupError, TypeError, AttributeError):
        return []
    found: dict[str, float] = {}
    for entry in entries:
        token = entry.get("token") if isinstance(entry, Mapping) else None
        value = entry.get("logprob") if isinstance(entry, Mapping) else None
        # What is no number, or no probability, was not told.
        if isinstance(token, str) and isinstance(value, int | float) and -math.inf < value <= 1e-6:
            found.setdefault(token, min(0.0, float(value)))
    return list(found.items())


def _chosen(text: str) -> str:
    """Return the word in a reply: the value of its JSON object, or all of it where it is no such object."""
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    value = found.get(_KEY) if isinstance(found, dict) else None
    return value if isinstance(value, str) else text
