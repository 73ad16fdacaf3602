"""The answer inside a model's text: what follows its thoughts, out of whatever it is wrapped in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# Braces in prose that are no JSON; a text with more of them is not worth the search.
_MAX_BRACES = 100
_WRAPPED = 2
_NAME = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
# Marks around thoughts: tags (DeepSeek, Qwen, Seed), Mistral's brackets, Kimi's triangles, tokens (Sky), and
# the channels of gpt-oss and Gemma, which say what a message is where it begins.
_END = re.compile(
    rf"</\s*{_NAME}\s*>|\[/(?:THINK|REASONING)\]|◁/{_NAME}▷|<\|(?:end_of_|/){_NAME}\|>"
    r"|<\|channel\|>\s*final\s*(?:<\|constrain\|>\s*\w+\s*)?<\|message\|>|<channel\|>|\bassistantfinal(?!ly)"
    r"|\[BEGIN FINAL RESPONSE\]",
    re.I,
)
_BEGIN = re.compile(
    rf"<\s*{_NAME}(?:\s[^<>]*)?>|(?-i:\[(?:THINK|REASONING)\])|◁{_NAME}▷|<\|(?:begin|start)_of_{_NAME}\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b|<\|channel>\s*thought",
    re.I,
)
# Wrappings around a whole answer that is not JSON.
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.S)
_MARK = r"(?:<\|[\w ]+\|>|</?(?:answer|response|output|s)>)"
_MARKS = re.compile(rf"\A(?:{_MARK}\s*)+|(?:\s*{_MARK})+\Z")


class Answer(NamedTuple):
    """What a model said at last; `unfinished`: it was still thinking when its text ended."""

    text: str
    unfinished: bool = False


def read_answer(text: str, keys: Sequence[str]) -> Answer:
    """Return the answer in a model's text: its JSON object where there is one, else its words.

    Of several objects the last that holds a text for every key is the answer: before it stand drafts,
    examples, or the schema itself.

    Args:
        text: all that the model wrote.
        keys: of the object that was asked for.
    """
    whole = _decoded(text.strip().strip("\ufeff").strip())
    if _is_object(whole):
        # Marks of thoughts inside are a sticker's own words.
        return Answer(find_object(whole, keys) or whole)
    said, unfinished = after_thoughts(whole)
    if unfinished and not said:
        return Answer("", unfinished=True)
    return Answer(find_object(said, keys) or unwrap(said))


def after_thoughts(text: str) -> tuple[str, bool]:
    """Return what follows the last end of thoughts, and whether the text ends inside thoughts.

    Templates write the opening mark into the prompt, so often only the closing one is in the text.
    """
    ends = [end.end() for end in _END.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    begin = _BEGIN.search(rest)
    return (rest if begin is None else rest[: begin.start()]).strip(), begin is not None


def find_object(text: str, keys: Sequence[str]) -> str | None:
    """Return the JSON object that is the answer, as it stands in the text; None without any object."""
    first = partial = complete = None
    for found, source in _objects(text):
        first = first or source
        for inner, inner_source in _with_inner(found, source):
            held = [key for key in keys if isinstance(inner.get(key), str)]
            if keys and len(held) == len(keys):
                complete = inner_source
            elif held or (inner is found and any(key in inner for key in keys)):
                partial = inner_source
    return complete or partial or first


def unwrap(text: str) -> str:
    """Return a text without the tokens, tags or fence that stand around all of it."""
    for _ in range(_WRAPPED):
        text = _MARKS.sub("", text).strip()
        fenced = _FENCE.match(text)
        text = fenced[1].strip() if fenced else text
    return text


def _objects(text: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the outermost JSON objects of a text with their own words."""
    decoder = json.JSONDecoder(strict=False)
    start, braces = text.find("{"), 0
    while start >= 0 and braces < _MAX_BRACES:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            braces += 1
            start = text.find("{", start + 1)
            continue
        if isinstance(found, dict):
            yield found, text[start:end]
        start = text.find("{", end)


def _with_inner(found: dict[str, Any], source: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield an object and those inside it: {"answer": {…}}, a schema that was filled in."""
    for value in found.values():
        if isinstance(value, dict):
            yield value, json.dumps(value, ensure_ascii=False)
    yield found, source


def _decoded(text: str) -> str:
    """Return what a JSON text holds that was written as JSON twice, any other text as it is."""
    if not text.startswith('"'):
        return text
    try:
        inner = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    return inner.strip() if isinstance(inner, str) and inner.lstrip().startswith("{") else text


def _is_object(text: str) -> bool:
    try:
        return text.startswith("{") and isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False
