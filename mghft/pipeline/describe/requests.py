"""From a sticker to its row: requests are made, their responses are read into the row.

`Questions` is what a run asks; those of a prompt pack are for the four views, other rooms have their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.engines.base import Request, RequestKey, Response
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.text import valid_utf8
from mghft.pipeline.views import VIEWS, ViewError, parse_view, parse_views, views_schema

# A second attempt at temperature 0 would repeat the first word for word.
_RETRY_TEMPERATURE = 0.7
# Names for "the model was done"; under any other name an answer may have been cut.
_ENDS = (
    "stop",
    "unknown",
    "end_turn",
    "stop_sequence",
    "eos",
    "eos_token",
    "end",
    "complete",
    "completed",
    "done",
)


class Questions(Protocol):
    """What a run asks about every sticker, and what it makes of the responses."""

    def make(self, sticker: Sticker, loaded: Loaded, attempt: int) -> list[Request]:
        """Return the requests about a sticker with an image; `attempt` counts from 0."""
        ...

    def parse(self, row: Row, responses: Mapping[RequestKey, Response]) -> None:
        """Fill a row, as `start_row` or an earlier attempt left it, with the responses of one attempt."""
        ...


@dataclass(frozen=True)
class PackQuestions:
    """The questions of a prompt pack, for the views."""

    pack: PromptPack

    def make(self, sticker: Sticker, loaded: Loaded, attempt: int) -> list[Request]:
        """Return one request, or one for each view."""
        return make_requests(self.pack, sticker, loaded, attempt)

    def parse(self, row: Row, responses: Mapping[RequestKey, Response]) -> None:
        """Fill the row with the views."""
        parse_responses(row, responses, self.pack.asked)


def make_requests(pack: PromptPack, sticker: Sticker, loaded: Loaded, attempt: int) -> list[Request]:
    """Return the requests about a sticker: one, or one for each view; a later attempt has another seed."""
    assert loaded.image is not None and loaded.sha256 is not None
    sampling = pack.sampling
    if attempt:
        sampling = sampling.model_copy(
            update={
                "seed": sampling.seed + attempt,
                "temperature": sampling.temperature or _RETRY_TEMPERATURE,
            }
        )
    return [
        Request(
            key=RequestKey(sticker.id, view),
            image=loaded.image,
            image_id=loaded.sha256,
            system=pack.system,
            user=user,
            schema=views_schema(pack.asked if view is None else (view,)),
            sampling=sampling,
        )
        for view, user in pack.messages(sticker)
    ]


def parse_responses(
    row: Row, responses: Mapping[RequestKey, Response], asked: tuple[str, ...] = VIEWS
) -> None:
    """Fill a row with the responses to a sticker's requests: the views and `ok`, or `failed` and why.

    Args:
        row: as `start_row` or an earlier attempt left it.
        responses: to all requests of one attempt.
        asked: the views that one request for all of them asks for.
    """
    by_view = {key.view: response for key, response in responses.items()}
    # In the order of the views, whatever was finished first.
    ordered = {view: by_view[view] for view in (None, *VIEWS) if view in by_view}
    row["prompt_tokens"] = sum(response.prompt_tokens for response in ordered.values())
    # Tokens of failed attempts were generated too.
    row["output_tokens"] += sum(response.output_tokens for response in ordered.values())
    if None in ordered:
        raw = ordered[None].text
    else:
        raw = json.dumps({view: one.text for view, one in ordered.items()}, ensure_ascii=False)
    row["raw"] = valid_utf8(raw)
    reasons = (response.finish_reason for response in ordered.values())
    row["finish_reason"] = next((reason for reason in reasons if reason != "stop"), "stop")
    try:
        views: dict[str, str] = {}
        for view, response in ordered.items():
            views |= _read(view, response, asked)
    except ViewError as error:
        row.update({"status": "failed", "error": str(error)})
    else:
        row.update(cast(Row, views))
        row.update({"status": "ok", "error": None})


def _read(view: str | None, response: Response, asked: tuple[str, ...]) -> dict[str, str]:
    """Return the views in one response.

    Raises:
        ViewError: there are none; it names the reason for which the answer ended, where that is an odd one.
    """
    if response.error is not None:
        raise ViewError(valid_utf8(response.error))
    reason = valid_utf8(response.finish_reason)
    try:
        if view is None:
            return parse_views(response.text, reason, asked)
        text = parse_view(response.text, reason, view)
    except ViewError as error:
        if reason in ("stop", "length", "unknown"):
            raise
        raise ViewError(f"{error} (the answer ended with {reason!r})") from None
    # A whole JSON object is complete whatever the reason is called; of bare words nobody knows.
    if reason.lower() not in _ENDS and not response.text.lstrip().startswith("{"):
        raise ViewError(f"the answer for {view} ended with {reason!r} and may be cut")
    return {view: text}
