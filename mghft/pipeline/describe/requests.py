"""From a sticker to its row: the image is loaded, requests are made, answers are judged."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.text import valid_utf8
from mghft.pipeline.views import VIEWS, ViewError, parse_view, parse_views, views_schema

# A second try at temperature 0 would repeat the first word for word.
_RETRY_TEMPERATURE = 0.7


def make_requests(pack: PromptPack, sticker: Sticker, loaded: Loaded, attempt: int) -> list[Request]:
    """What is asked about a sticker: one request, or one for each view; a later attempt has another seed."""
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
            key=f"{view or ''}\n{sticker.id}",
            image=loaded.image,
            image_id=loaded.sha256,
            system=pack.system,
            user=user,
            schema=views_schema(pack.asked if view is None else (view,)),
            sampling=sampling,
        )
        for view, user in pack.messages(sticker)
    ]


def judge(row: Row, answers: Mapping[str, Response], asked: tuple[str, ...] = VIEWS) -> None:
    """Fills a row with its answers, by key: the views asked for and `ok`, or `failed` with the reason."""
    named = {key.partition("\n")[0]: answer for key, answer in answers.items()}
    joint = "" in named
    # In the order of the views, whatever was finished first.
    parts = {name: named[name] for name in ("", *VIEWS) if name in named}
    row["prompt_tokens"] = sum(part.prompt_tokens for part in parts.values())
    # Tokens of failed attempts were generated too.
    row["output_tokens"] += sum(part.output_tokens for part in parts.values())
    texts = {name: part.text for name, part in parts.items()}
    row["raw"] = valid_utf8(texts[""] if joint else json.dumps(texts, ensure_ascii=False))
    row["finish_reason"] = next(
        (p.finish_reason for p in parts.values() if p.finish_reason != "stop"), "stop"
    )
    try:
        views: dict[str, str] = {}
        for name, part in parts.items():
            if part.error is not None:
                raise ViewError(valid_utf8(part.error))
            if name:
                views[name] = parse_view(part.text, part.finish_reason, name)
            else:
                views = parse_views(part.text, part.finish_reason, asked)
    except ViewError as error:
        row.update(status="failed", error=str(error))
    else:
        row.update(views, status="ok", error=None)
