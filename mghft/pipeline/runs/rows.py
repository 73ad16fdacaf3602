"""A row of a run before and after it has an answer."""

from __future__ import annotations

from typing import Any

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.text import printable

Row = dict[str, Any]


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
