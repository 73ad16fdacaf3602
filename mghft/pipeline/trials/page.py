"""A try to look at: one web page with stickers as rows and prompts as columns, and a summary in Markdown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mghft.pipeline.files import write_text
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import run_status
from mghft.pipeline.trials.trial import PAGE, SUMMARY, Done
from mghft.pipeline.views import VIEWS

# A page of more is slow to open; the rows are all in the runs.
MOST_STICKERS = 500
_PICTURE_SIDE = 112
_RAW_SHOWN = 4_000
_REASONS_SHOWN = 5
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['’]\w+)?")


def write_trial_page(done: Done, root: Path) -> tuple[Path, Path]:
    """Writes page and summary of a finished try into its folder.

    Args:
        done: the try.
        root: of the corpus, for the pictures.

    Returns:
        Paths of the page and of the summary.
    """
    runs = [_rows(done.folder / pack.folder) for pack in done.manifest.packs]
    columns = [
        _column(done.folder / pack.folder, pack.title, rows, runs[0])
        for pack, rows in zip(done.manifest.packs, runs, strict=True)
    ]
    page, summary = done.folder / PAGE, done.folder / SUMMARY
    shown = done.stickers[:MOST_STICKERS]
    image = ImageTransform.model_validate({**columns[0]["manifest"]["image"], "max_side": _PICTURE_SIDE})
    facts = {
        "manifest": done.manifest,
        "subset": done.manifest.subset,
        "columns": columns,
        "views": VIEWS,
        "labels": [(name, count) for name, count in done.manifest.subset.classes.items()],
        "left_out": len(done.stickers) - len(shown),
        "count": len(shown),
        "cards": _cards(done, runs, root, image),
    }
    write_page(page, "tries.html.j2", facts)
    write_text(summary, _markdown(done, columns))
    return page, summary


def count_words(text: str) -> int:
    """Words of a text; in Chinese and Japanese, which have no blanks, characters."""
    return len(_WORD.findall(text))


def _rows(folder: Path) -> dict[str, Row]:
    return {row["sticker_id"]: row for row in read_descriptions(folder).to_pylist()}


def _column(folder: Path, title: str, rows: dict[str, Row], first: dict[str, Row]) -> dict[str, Any]:
    """What is counted of one prompt."""
    manifest, status = read_manifest(folder), run_status(folder)
    asked = list(status["distinct_texts"])
    good = [row for row in rows.values() if row["status"] == "ok"]
    count = max(1, len(rows))
    words = {
        view: round(sum(count_words(row[view]) for row in good) / len(good), 1) if good else 0.0
        for view in asked
    }
    alike = sum(
        all(row[view] == first[name][view] for view in asked)
        for name, row in rows.items()
        if name in first and row["status"] == first[name]["status"] == "ok"
    )
    return {
        "title": title,
        "folder": folder.name,
        "manifest": manifest,
        "mode": manifest["prompt"]["mode"],
        "language": manifest["prompt"]["language"],
        "prompt": manifest["prompt"],
        "asked": asked,
        "rows": len(rows),
        "ok": status["ok"],
        "failed": status["failed"],
        "prompt_tokens": status["prompt_tokens"],
        "output_tokens": status["output_tokens"],
        "prompt_tokens_each": round(status["prompt_tokens"] / count, 1),
        "output_tokens_each": round(status["output_tokens"] / count, 1),
        "words": words,
        "distinct": status["distinct_texts"],
        "alike": alike,
        "reasons": list(status["failures"].items())[:_REASONS_SHOWN],
        "warnings": status["warnings"],
    }


def _cards(
    done: Done, runs: list[dict[str, Row]], root: Path, transform: ImageTransform
) -> Iterator[dict[str, Any]]:
    for sticker in done.stickers[:MOST_STICKERS]:
        rows = [run[sticker.id] for run in runs]
        url, size, trouble = _picture(root, sticker.path, rows[0]["image_sha256"], transform)
        yield {
            "id": sticker.id,
            "label": sticker.label_name,
            "split": sticker.split,
            "text": sticker.text,
            "picture": url,
            "size": size,
            "trouble": trouble,
            "cells": [
                {**row, "raw": (row["raw"] or "")[:_RAW_SHOWN] if row["status"] == "failed" else ""}
                for row in rows
            ],
        }


def _picture(
    root: Path, path: str, sha256: str | None, transform: ImageTransform
) -> tuple[str | None, tuple[int, int], str | None]:
    """Address and size of a sticker's picture, and what is wrong with it."""
    try:
        content = read_image(root, path)
        image = decode_bytes(content, transform)
    except ImageError as error:
        return None, (0, 0), str(error)
    changed = sha256 is not None and hashlib.sha256(content).hexdigest() != sha256
    trouble = "the file has changed since it was described" if changed else None
    return picture_url(image), image.size, trouble


def _markdown(done: Done, columns: list[dict[str, Any]]) -> str:
    manifest, subset = done.manifest, done.manifest.subset
    classes = ", ".join(f"{_cell(name)} {count}" for name, count in subset.classes.items())
    lines = [
        f"# Prompts tried on {_cell(manifest.card)}: {done.folder.name}",
        "",
        f"Model {_cell(manifest.model)}, engine {_cell(manifest.engine)}, {manifest.created}. "
        f"{subset.stickers} stickers ({_cell(subset.words())}): {classes}.",
        "",
        "| prompt | asks | ok | failed | tokens read | written | written each | words a view "
        "| different texts | as the first |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for column in columns:
        words = ", ".join(f"{view} {count}" for view, count in column["words"].items())
        texts = ", ".join(f"{view} {count}" for view, count in column["distinct"].items())
        lines.append(
            f"| {_cell(column['title'])} | {column['mode']}, {_cell(column['language'])} | {column['ok']} "
            f"| {column['failed']} | {column['prompt_tokens']:,} | {column['output_tokens']:,} "
            f"| {column['output_tokens_each']} | {words} | {texts} | {column['alike']} |"
        )
    lines += ["", "The last column counts stickers whose texts are word for word those of the first prompt."]
    for column in columns:
        for reason, count in column["reasons"]:
            lines.append(f"- {_cell(column['title'])}: {count} failed, {_cell(reason)}")
        lines += [f"- {_cell(column['title'])}: {_cell(warning)}" for warning in column["warnings"]]
    folders = ", ".join(f"`{column['folder']}`" for column in columns)
    lines += ["", f"Page: `{PAGE}`. Runs: {folders}.", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A text that is no markup in a Markdown table: one line, signs of markup escaped."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(str(text).split()))
