"""Reading what a server answers: whole or streamed, content as text or in parts, thoughts beside it.

Servers invent reasons for which an answer ends; three kinds matter (cut, filtered, broken), and what belongs
to none of them is kept under its own name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mghft.pipeline.engines.answer_text import after_thoughts, find_object, read_answer, unwrap
from mghft.pipeline.engines.base import RequestKey, Response
from mghft.pipeline.text import one_line, valid_utf8

_LONGEST_WORDS = 300
# Names of fields beside the content that hold thoughts (DeepSeek and vLLM, OpenRouter, others).
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "thoughts")
_THOUGHT_PARTS = ("thinking", "reasoning", "thought", "redacted_thinking")
# By what the words in a reason mean, since every vendor has reasons of its own; the first that fits counts.
_FILTERED = re.compile(
    r"filter|safe|sensitiv|block|prohibit|recitation|spii|moderat|refus|guardrail|flag|polic|violat|censor|risk",
    re.I,
)
_BROKEN = re.compile(
    r"error|fail|resource|abort|cancel|timeout|timed_out|overload|unavailable|interrupt|disconnect|shutdown",
    re.I,
)
_CUT = re.compile(r"length|max|limit|context|window|truncat|token_budget", re.I)


class BrokenReplyError(Exception):
    """A reply without a response in it: cut, no JSON, without choices, or an error; worth asking again.

    Attributes:
        status: the HTTP status that the reply names in its body, 0 without one.
    """

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


def read_reply(key: RequestKey, reply: object, views: Sequence[str]) -> Response:
    """Return the response in a reply to the request with this key.

    Args:
        reply: the body, from `parse_body`.
        views: keys of the object that was asked for.

    Raises:
        BrokenReplyError: it has none.
    """
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = _message(first) if isinstance(first, dict) else None
    if not isinstance(reply, dict) or not isinstance(first, dict) or message is None:
        raise _no_choices(reply)
    reason = _reason(first)
    if reason is not None and reason not in ("stop", "length") and _kind(reason) == "broken":
        said = first.get("error") or reply.get("error")
        raise BrokenReplyError(
            f"the server broke the answer off ({reason}{f': {_words(said)}' if said else ''})"
        )
    if first.get("error"):
        raise BrokenReplyError(
            f"the server broke the answer off: {_words(first['error'])}", _code(first["error"])
        )
    usage = reply.get("usage")
    text, problem = _judge(message, reason, usage, views)
    return Response(
        key,
        text=text,
        finish_reason=reason or "unknown",
        prompt_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
        error=problem,
    )


def error_words(body: object) -> str:
    """Return what a server says about an error, whatever form it gives it; what lies deepest says most."""
    if isinstance(body, Mapping):
        for name in ("error", "detail", "message", "msg", "reason", "title"):
            if (value := body.get(name)) not in (None, "", {}, []):
                words = error_words(value)
                break
        else:
            words = json.dumps(dict(body), ensure_ascii=False, default=str) if body else ""
        # Routers put the words of the server behind them here and say themselves that there was an error.
        metadata = body.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
        return f"{words}: {error_words(raw)}" if raw else words
    if isinstance(body, list) and len(body) == 1:
        return error_words(body[0])
    if isinstance(body, list):
        return json.dumps(body, ensure_ascii=False, default=str)
    text = str(body or "").strip()
    # A web page in place of an error: its text without the markup.
    return re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.S | re.I) if "</" in text else text


def _words(body: object) -> str:
    return one_line(valid_utf8(error_words(body)), _LONGEST_WORDS)


def parse_body(content: bytes) -> object:
    """Parse a body by what it is, since content types are often wrong: JSON, or a stream of pieces.

    Raises:
        BrokenReplyError: it is neither.
    """
    text = content.decode("utf-8-sig", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and re.match(r"(data|event|id|retry)?:", lines[0]):
        return _join(line[5:].strip() for line in lines if line.startswith("data:"))
    if len(lines) > 1 and lines[0].startswith("{"):
        # A stream with one object a line.
        return _join(iter(lines))
    if re.match(r"\s*<(!doctype|html)", text, re.I):
        raise BrokenReplyError(f"the answer is a web page ({_words(text)[:80]})")
    raise BrokenReplyError("the answer is no JSON")


def _join(events: Iterator[str]) -> dict[str, Any]:
    """Return the reply whose pieces were streamed.

    Raises:
        BrokenReplyError: the stream holds an error, or ends before it says so.
    """
    texts: dict[str, str] = {}
    reason = usage = None
    ended = False
    for event in events:
        if event == "[DONE]":
            ended = True
            break
        try:
            piece = json.loads(event)
        except (ValueError, RecursionError):
            raise BrokenReplyError("the server streams, and a piece of its stream is no JSON") from None
        if not isinstance(piece, dict):
            continue
        if piece.get("error"):
            raise BrokenReplyError(f"the stream holds the error {_words(piece)}", _code(piece["error"]))
        usage = piece.get("usage") or usage
        choices = piece.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, dict) or first.get("index", 0) not in (0, None):
            continue
        message = _message(first) or {}
        for name in ("content", "refusal", *_THOUGHT_FIELDS):
            if words := _text(message.get(name)):
                # A last piece may repeat the whole message.
                texts[name] = (
                    words if "message" in first and "delta" not in first else texts.get(name, "") + words
                )
        reason = _reason(first) or reason
    if reason is None and not ended:
        raise BrokenReplyError("the server streams, and its stream ended too early")
    return {"choices": [{"message": dict(texts), "finish_reason": reason}], "usage": usage}


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a choice's message; a piece of a stream calls it delta, an old server has bare text."""
    for name in ("message", "delta"):
        if isinstance(message := choice.get(name), dict):
            return message
    return {"content": choice["text"]} if isinstance(choice.get("text"), str) else None


def _reason(choice: Mapping[str, Any]) -> str | None:
    for name in ("finish_reason", "stop_reason", "finishReason"):
        if isinstance(reason := choice.get(name), str) and reason:
            return reason
    return None


def _kind(reason: str) -> str | None:
    """Return what a reason means: "filtered", "broken" or "cut"; None: the end, or not known."""
    kinds = (("filtered", _FILTERED), ("broken", _BROKEN), ("cut", _CUT))
    return next((kind for kind, words in kinds if words.search(reason)), None)


def _judge(
    message: Mapping[str, Any], reason: str | None, usage: object, views: Sequence[str]
) -> tuple[str, str | None]:
    """Return the answer in a message, and why it is none."""
    said = _text(message.get("content"))
    answer = read_answer(said, views)
    kind = None if reason is None else _kind(reason)
    if kind == "filtered":
        named = "" if reason == "content_filter" else f" ({reason})"
        return answer.text, f"the server's content filter stopped the answer{named}"
    if refusal := _text(message.get("refusal")):
        return answer.text, f"the model refused: {one_line(valid_utf8(refusal), _LONGEST_WORDS)}"
    if kind == "cut" and reason != "length" and answer.text:
        return answer.text, (
            f"the answer was cut at a limit of tokens ({reason}): raise max_tokens in the prompt pack, "
            "or the server's context"
        )
    if answer.text:
        return answer.text, None
    thoughts = "".join(_text(message.get(name)) for name in _THOUGHT_FIELDS)
    if kind is None and not said and (among := _answer_among(thoughts, views)):
        # Servers that split thoughts off put the answer of a model that did not think there.
        return among, None
    return said, _why_empty(message, reason, kind, usage, bool(thoughts) or answer.unfinished)


def _answer_among(thoughts: str, views: Sequence[str]) -> str | None:
    """Return the answer in a field for thoughts: what follows their end, or an object with nothing around."""
    whole = thoughts.strip()
    said, unfinished = after_thoughts(whole)
    if said and said != whole and not unfinished:
        return find_object(said, views) or unwrap(said)
    try:
        found = json.loads(whole, strict=False)
    except (ValueError, RecursionError):
        return None
    complete = isinstance(found, dict) and all(isinstance(found.get(view), str) for view in views)
    return whole if complete else None


def _why_empty(
    message: Mapping[str, Any], reason: str | None, kind: str | None, usage: object, thought: bool
) -> str:
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    tokens = _count(details, "reasoning_tokens")
    named = reason or "no reason given"
    if thought or tokens:
        spent = (
            f"{tokens} tokens went into the model's thoughts" if tokens else "the model was still thinking"
        )
        return (
            f"the answer is empty, {spent} ({named}): raise max_tokens in the prompt pack, "
            "or switch the model's thinking off"
        )
    if kind == "cut":
        return (
            f"the answer is empty and was cut at a limit of tokens ({named}): "
            "raise max_tokens in the prompt pack"
        )
    if message.get("tool_calls") or message.get("function_call"):
        return f"the model called a tool in place of an answer ({named})"
    return f"the answer is empty ({named})"


def _text(content: object) -> str:
    """Return the text of a message's content: a string, or parts of which thoughts and pictures have none."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part) for part in content)
    if not isinstance(content, dict):
        return ""
    if str(content.get("type")) in _THOUGHT_PARTS:
        return ""
    for name in ("text", "content", "value"):
        if isinstance(part := content.get(name), str | list | dict) and (
            "type" in content or len(content) == 1
        ):
            return _text(part)
    # A server that parses the answer itself.
    return "" if "type" in content else json.dumps(content, ensure_ascii=False)


def _no_choices(reply: object) -> BrokenReplyError:
    error = reply.get("error") if isinstance(reply, dict) else None
    if error:
        return BrokenReplyError(f"the answer has no choices, but the error {_words(reply)}", _code(error))
    said = f": {_words(reply)}" if isinstance(reply, dict) and reply and "choices" not in reply else ""
    return BrokenReplyError(f"the answer has no choices{said}")


def _code(error: object) -> int:
    """Return the HTTP status inside an error that came with 200, 0 without one."""
    for name in ("code", "status", "status_code"):
        value = error.get(name) if isinstance(error, Mapping) else None
        if isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(value) < 600:
            return int(value)
    return 0


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
