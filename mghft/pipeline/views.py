"""The four views of a sticker, and how an engine's answer is read and judged.

The views follow MGHFT (ACM MM 2025, figure 2): intention, style, main role (here `content`) and gesture or
posture and expression (here `details`). The order of `VIEWS` is the order of every file and tensor.
"""

from __future__ import annotations

import json
import re
from typing import Any

from mghft.pipeline.refusals import is_refusal
from mghft.pipeline.text import one_line

VIEWS = ("content", "style", "intention", "details")

# A text in which one run of words makes up most of what was written is a stuck decoder, not a description.
_REPEATS = 4
_MIN_WORDS_FOR_LOOP = 12
# Characters of a refusal that are kept as its reason.
_SHOWN = 120


class ViewError(ValueError):
    """An answer that is no description; the message is the reason kept in the failed row."""


def views_schema(views: tuple[str, ...] = VIEWS) -> dict[str, Any]:
    """Return the JSON schema of an answer: one non-empty string per view, in order, nothing else."""
    return {
        "type": "object",
        "properties": {view: {"type": "string", "minLength": 1} for view in views},
        "required": list(views),
        "additionalProperties": False,
    }


def parse_views(answer: str, finish_reason: str, views: tuple[str, ...] = VIEWS) -> dict[str, str]:
    """Read one answer in JSON.

    Args:
        answer: the model's own text.
        finish_reason: why the engine stopped; "length" is a cut answer, whatever it parses to.
        views: the keys that must be there.

    Returns:
        The views, white space folded.

    Raises:
        ViewError: with the reason in words a person can act on.
    """
    if finish_reason == "length":
        raise ViewError("the answer was cut at the token limit (raise max_tokens in the prompt pack)")
    try:
        # Small models put raw line breaks inside strings; strict=False reads them, nothing else is relaxed.
        found = json.loads(answer, strict=False)
    except (ValueError, RecursionError) as error:
        # ValueError is also what a number of thousands of digits ends in, RecursionError deep nesting.
        _check_willing(answer)
        raise ViewError(f"the answer is no valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ViewError(f"the answer is a JSON {type(found).__name__}, expected an object")
    missing = [view for view in views if view not in found]
    if missing:
        for text in found.values():
            _check_willing(text)
        if "properties" in found:
            raise ViewError("the answer repeats the JSON schema instead of filling it in")
        raise ViewError(f"the answer lacks the view {', '.join(missing)}")
    return {view: check_view(view, found[view]) for view in views}


def parse_view(answer: str, finish_reason: str, view: str) -> str:
    """Read one answer to a per-view request: JSON with that key, or plain text.

    Raises:
        ViewError: the answer is cut, empty or a loop.
    """
    if finish_reason == "length":
        raise ViewError(
            f"the answer for {view} was cut at the token limit (raise max_tokens in the prompt pack)"
        )
    if answer.lstrip().startswith("{"):
        return parse_views(answer, finish_reason, (view,))[view]
    return check_view(view, answer)


def check_view(view: str, text: object) -> str:
    """Return one view's text, white space folded.

    Raises:
        ViewError: it is empty, no text, a loop, or a refusal.
    """
    if not isinstance(text, str):
        raise ViewError(f"the view {view} is a {type(text).__name__}, expected text")
    # A lone surrogate ("\ud800" in JSON) is a legal Python string that neither UTF-8 nor Parquet can hold.
    folded = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    if not re.search(r"\w", folded):
        raise ViewError(f"the view {view} is empty")
    _check_willing(folded)
    if repeats_itself(folded):
        raise ViewError(f"the view {view} repeats itself")
    return folded


def repeats_itself(text: str) -> bool:
    """Return whether a run of one to eight words follows itself often enough to fill most of the text."""
    words = text.lower().split()
    if len(words) < _MIN_WORDS_FOR_LOOP:
        return False
    for size in range(1, 9):
        same = 0
        for position in range(size, len(words)):
            same = same + 1 if words[position] == words[position - size] else 0
            if same >= size * (_REPEATS - 1) and same + size >= len(words) / 2:
                return True
    return False


def _check_willing(text: object) -> None:
    if isinstance(text, str) and is_refusal(text):
        raise ViewError(f"the model refused: {one_line(text, _SHOWN)}")
