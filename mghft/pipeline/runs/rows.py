"""A row of a run: its columns, and the row of a sticker before there is a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from mghft.pipeline.text import printable
from mghft.pipeline.views import VIEWS

if TYPE_CHECKING:
    from mghft.pipeline.corpora.sticker import Sticker
    from mghft.pipeline.images.load import Loaded

# In this form because `bytes` is the name of a field and of its type.
EmbeddedImage = TypedDict("EmbeddedImage", {"bytes": bytes, "path": str})  # noqa: UP013


# Above this share of a run's rows failures are more than a few bad files.
FAILED_LIMIT = 0.1


class Row(TypedDict):
    """One sticker of a run, by the columns of `shards.SCHEMA`.

    A view is null or absent where it was not asked for or the row failed; `image` is there only where images
    are embedded, `emoji` where the corpus is of sticker packs.
    """

    sticker_id: str
    image_sha256: str | None
    path: str
    split: str
    label: int | None
    label_name: str | None
    text: str | None
    content: NotRequired[str | None]
    style: NotRequired[str | None]
    intention: NotRequired[str | None]
    details: NotRequired[str | None]
    status: str
    error: str | None
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    raw: str | None
    image: NotRequired[EmbeddedImage | None]
    emoji: NotRequired[str]


def start_row(sticker: Sticker, loaded: Loaded, embed: bool) -> Row:
    """Return the row before any response: failed, with the image's fault where there is one."""
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
    if sticker.emoji is not None:
        row["emoji"] = sticker.emoji
    if embed:
        row["image"] = None if loaded.content is None else {"bytes": loaded.content, "path": row["path"]}
    return row


def has_views(row: Mapping[str, object], asked: Sequence[str]) -> bool:
    """Return whether a row has a text for every view asked for, and for no other."""
    return all(bool(row.get(view)) == (view in asked) for view in VIEWS)
