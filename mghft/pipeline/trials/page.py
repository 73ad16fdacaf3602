"""A trial to look at: one page with stickers as rows and prompts as columns, and a summary in Markdown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.files import write_text
from mghft.pipeline.html import picture_url, write_page
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import ImageTransform, decode_bytes, read_image
from mghft.pipeline.runs.manifest import Manifest, read_manifest
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import RunStatus, run_status
from mghft.pipeline.text import escape_markdown
from mghft.pipeline.trials.run import TrialResult
from mghft.pipeline.trials.trial import PAGE, SUMMARY
from mghft.pipeline.views import VIEWS

# A page of more is slow to open; the rows are all in the runs.
MOST_STICKERS = 500
_PICTURE_SIDE = 112
_RAW_SHOWN = 4_000
_REASONS_SHOWN = 5
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['’]\w+)?")

# Rows as they are read, by sticker id.
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Column:
    """One prompt: its run, and what is counted of its texts.

    Attributes:
        words: mean words of a text, by view asked for.
        alike: stickers whose texts are word for word those of the first prompt.
    """

    title: str
    folder: str
    manifest: Manifest
    status: RunStatus
    words: dict[str, float]
    alike: int

    @property
    def prompt(self) -> dict[str, Any]:
        """Return the fields of the prompt pack."""
        return self.manifest["prompt"]

    @property
    def prompt_tokens_each(self) -> float:
        """Return tokens read for a sticker."""
        return round(self.status["prompt_tokens"] / max(1, self.status["rows"]), 1)

    @property
    def output_tokens_each(self) -> float:
        """Return tokens written for a sticker."""
        return round(self.status["output_tokens"] / max(1, self.status["rows"]), 1)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Return the most frequent reasons of failure."""
        return list(self.status["failures"].items())[:_REASONS_SHOWN]


def write_trial_page(trial: TrialResult, root: Path) -> tuple[Path, Path]:
    """Write page and summary of a finished trial into its folder.

    Args:
        trial: the trial.
        root: of the corpus, for the pictures.

    Returns:
        Paths of the page and of the summary.
    """
    folders = [trial.folder / pack.folder for pack in trial.manifest.packs]
    runs = [_rows(folder) for folder in folders]
    columns = [
        _column(folder, pack.title, rows, runs[0])
        for folder, pack, rows in zip(folders, trial.manifest.packs, runs, strict=True)
    ]
    page, summary = trial.folder / PAGE, trial.folder / SUMMARY
    shown = trial.stickers[:MOST_STICKERS]
    fields = {**columns[0].manifest["image"], "max_side": _PICTURE_SIDE}
    facts = {
        "manifest": trial.manifest,
        "subset": trial.manifest.subset,
        "columns": columns,
        "views": VIEWS,
        "labels": list(trial.manifest.subset.classes.items()),
        "left_out": len(trial.stickers) - len(shown),
        "count": len(shown),
        "cards": _cards(trial, runs, root, ImageTransform.model_validate(fields)),
    }
    write_page(page, "trial.html.j2", facts)
    write_text(summary, _markdown(trial, columns))
    return page, summary


def count_words(text: str) -> int:
    """Count the words of a text; in Chinese and Japanese, which have no blanks, characters."""
    return len(_WORD.findall(text))


def _rows(folder: Path) -> Rows:
    return {row["sticker_id"]: row for row in read_descriptions(folder).to_pylist()}


def _column(folder: Path, title: str, rows: Rows, first: Rows) -> Column:
    status = run_status(folder)
    asked = list(status["distinct_texts"])
    good = [row for row in rows.values() if row["status"] == "ok"]
    words = {
        view: round(sum(count_words(row[view]) for row in good) / len(good), 1) if good else 0.0
        for view in asked
    }
    alike = sum(
        all(row[view] == first[name][view] for view in asked)
        for name, row in rows.items()
        if name in first and row["status"] == first[name]["status"] == "ok"
    )
    return Column(title, folder.name, read_manifest(folder), status, words, alike)


def _cards(
    trial: TrialResult, runs: Sequence[Rows], root: Path, transform: ImageTransform
) -> Iterator[dict[str, Any]]:
    for sticker in trial.stickers[:MOST_STICKERS]:
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
    """Return address and size of a sticker's picture, and what is wrong with it."""
    try:
        content = read_image(root, path)
        image = decode_bytes(content, transform)
    except ImageError as error:
        return None, (0, 0), str(error)
    changed = sha256 is not None and hashlib.sha256(content).hexdigest() != sha256
    trouble = "the file has changed since it was described" if changed else None
    return picture_url(image), image.size, trouble


def _markdown(trial: TrialResult, columns: Sequence[Column]) -> str:
    manifest, subset = trial.manifest, trial.manifest.subset
    classes = ", ".join(f"{escape_markdown(name)} {count}" for name, count in subset.classes.items())
    lines = [
        f"# Prompts tried on {escape_markdown(manifest.card)}: {trial.folder.name}",
        "",
        f"Model {escape_markdown(manifest.model)}, engine {escape_markdown(manifest.engine)}, "
        f"{manifest.created}. "
        f"{subset.stickers} stickers ({escape_markdown(subset.words())}): {classes}.",
        "",
        "| prompt | asks | ok | failed | tokens read | written | written each | words a view "
        "| different texts | as the first |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for column in columns:
        status = column.status
        words = ", ".join(f"{view} {count}" for view, count in column.words.items())
        texts = ", ".join(f"{view} {count}" for view, count in status["distinct_texts"].items())
        asks = f"{column.prompt['mode']}, {escape_markdown(column.prompt['language'])}"
        lines.append(
            f"| {escape_markdown(column.title)} | {asks} "
            f"| {status['ok']} | {status['failed']} | {status['prompt_tokens']:,} "
            f"| {status['output_tokens']:,} | {column.output_tokens_each} | {words} | {texts} "
            f"| {column.alike} |"
        )
    lines += ["", "The last column counts stickers whose texts are word for word those of the first prompt."]
    for column in columns:
        title = escape_markdown(column.title)
        lines += [f"- {title}: {count} failed, {escape_markdown(reason)}" for reason, count in column.reasons]
        lines += [f"- {title}: {escape_markdown(warning)}" for warning in column.status["warnings"]]
    folders = ", ".join(f"`{column.folder}`" for column in columns)
    lines += ["", f"Page: `{PAGE}`. Runs: {folders}.", ""]
    return "\n".join(lines)
