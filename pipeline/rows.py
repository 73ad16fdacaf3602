"""From a sticker to its row: the image is loaded, requests are made, answers are judged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.corpus import Sticker, printable
from pipeline.engines import Answer, Request
from pipeline.images import ImageError, ImageTransform, decode_bytes, read_image
from pipeline.prompts import PromptPack
from pipeline.views import VIEWS, ViewError, parse_view, parse_views, views_schema

Row = dict[str, Any]
# A second try at temperature 0 would repeat the first word for word.
_RETRY_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Loaded:
    """A sticker's image, or why there is none."""

    image: Image.Image | None
    sha256: str | None
    content: bytes | None
    error: str | None = None


def load(root: Path, path: str, transform: ImageTransform, keep: bool) -> Loaded:
    """Reads and decodes an image; never raises for what is wrong with the file.

    Args:
        root: of the corpus.
        path: of the image, below the root.
        transform: how it is decoded.
        keep: whether the bytes of the file are kept, to be embedded.
    """
    content = None
    try:
        content = read_image(root, path)
        image = decode_bytes(content, transform)
    except ImageError as error:
        sha256 = None if content is None else hashlib.sha256(content).hexdigest()
        return Loaded(None, sha256, content if keep else None, _utf8(str(error)))
    return Loaded(image, hashlib.sha256(content).hexdigest(), content if keep else None)


def start_row(sticker: Sticker, loaded: Loaded, embed: bool) -> Row:
    """The row before any answer: failed, with the image's fault where there is one."""
    row: Row = {
        "sticker_id": sticker.id,
        "image_sha256": loaded.sha256,
        "path": printable(sticker.path),
        "split": sticker.split,
        "label": sticker.label,
        "label_name": sticker.label_name,
        "text": sticker.text,
        "status": "failed",
        "error": loaded.error,
        "finish_reason": "error",
        "prompt_tokens": 0,
        "output_tokens": 0,
        "raw": None,
    }
    if embed:
        row["image"] = None if loaded.content is None else {"bytes": loaded.content, "path": row["path"]}
    return row


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


def judge(row: Row, answers: Mapping[str, Answer], asked: tuple[str, ...] = VIEWS) -> None:
    """Fills a row with its answers, by key: the views asked for and `ok`, or `failed` with the reason."""
    named = {key.partition("\n")[0]: answer for key, answer in answers.items()}
    joint = "" in named
    # In the order of the views, whatever was finished first.
    parts = {name: named[name] for name in ("", *VIEWS) if name in named}
    row["prompt_tokens"] = sum(part.prompt_tokens for part in parts.values())
    # Tokens of failed attempts were generated too.
    row["output_tokens"] += sum(part.output_tokens for part in parts.values())
    texts = {name: part.text for name, part in parts.items()}
    row["raw"] = _utf8(texts[""] if joint else json.dumps(texts, ensure_ascii=False))
    row["finish_reason"] = next(
        (p.finish_reason for p in parts.values() if p.finish_reason != "stop"), "stop"
    )
    try:
        views: dict[str, str] = {}
        for name, part in parts.items():
            if part.error is not None:
                raise ViewError(_utf8(part.error))
            if name:
                views[name] = parse_view(part.text, part.finish_reason, name)
            else:
                views = parse_views(part.text, part.finish_reason, asked)
    except ViewError as error:
        row.update(status="failed", error=str(error))
    else:
        row.update(views, status="ok", error=None)


def _utf8(text: str) -> str:
    """Without lone surrogates, which no shard can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
