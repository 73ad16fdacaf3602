"""What a run learns from: stickers of a corpus joined with their descriptions, by id, never by position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import check_root
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.runs.shards import read_descriptions
from mghft.train.config import TrainConfig


@dataclass(frozen=True)
class Descriptions:
    """The texts of some stickers, aligned with them.

    Attributes:
        texts: per sticker one text per view; "" where there is none.
        mask: [n, V], False where the view is missing (failed, or never described).
    """

    texts: list[tuple[str, ...]]
    mask: NDArray[np.bool_]

    def missing(self) -> int:
        """Stickers without any view."""
        return int((~self.mask.any(axis=1)).sum())


def check_sources(config: TrainConfig) -> None:
    """Answers a slip in a name at once: needs no torch, which takes seconds to load.

    Raises:
        FileNotFoundError, ValueError: card, data or descriptions do not exist; one sentence.
    """
    card = load_card(config.card)
    if config.data is not None:
        check_root(card, config.data)
    if config.descriptions is not None and (config.use_text or config.data is None):
        check_run_folder(config.descriptions)


def check_run_folder(run_folder: Path) -> None:
    """
    Raises:
        FileNotFoundError: the run folder does not exist or has no shards.
    """
    if not run_folder.is_dir():
        raise FileNotFoundError(
            f"the descriptions {run_folder} do not exist: give the run folder of 'mghft describe'"
        )
    if not any(run_folder.glob("descriptions-*.parquet")):
        raise FileNotFoundError(
            f"the folder {run_folder} has no descriptions-*.parquet: run 'mghft describe' into it first"
        )


def join_descriptions(stickers: Sequence[Sticker], run_folder: Path, views: Sequence[str]) -> Descriptions:
    """Looks every sticker's description up by its id.

    Args:
        stickers: in the order the result shall have.
        run_folder: output folder of `mghft describe`.
        views: columns to read, in the model's order.

    Returns:
        Texts and mask; a failed or missing description is masked, not an error.

    Raises:
        FileNotFoundError: the run folder does not exist or has no shards.
        ValueError: it is empty, lacks a view, or shares no sticker with the corpus.
    """
    check_run_folder(run_folder)
    table = read_descriptions(run_folder)
    lacking = [view for view in views if view not in table.column_names]
    if lacking:
        raise ValueError(
            f"the descriptions {run_folder} lack the view {', '.join(lacking)} that the model reads"
        )
    if table.num_rows == 0:
        raise ValueError(
            f"the descriptions {run_folder} are empty: run 'mghft describe' on this corpus again"
        )
    found: dict[str, tuple[str, ...]] = {}
    rows: list[dict[str, Any]] = table.select(["sticker_id", "status", *views]).to_pylist()
    for row in rows:
        if row["status"] == "ok":
            found[row["sticker_id"]] = tuple(row[view] or "" for view in views)
    known = {row["sticker_id"] for row in rows}
    if not any(sticker.id in known for sticker in stickers):
        raise ValueError(
            f"the descriptions {run_folder} and the corpus have no sticker id in common "
            f"({rows[0]['sticker_id']!r} there, {stickers[0].id!r} here): they belong to another corpus"
        )
    nothing = ("",) * len(views)
    texts = [found.get(sticker.id, nothing) for sticker in stickers]
    mask = np.array([[bool(text.strip()) for text in row] for row in texts], dtype=np.bool_)
    if not mask.any():
        raise ValueError(
            f"every description of this corpus in {run_folder} failed: see its column 'error', "
            "then describe again"
        )
    return Descriptions(texts, mask)


def whole_texts(descriptions: Descriptions) -> Descriptions:
    """Every view gets the whole description, as MGHFT's released code encodes it."""
    wholes = [" ".join(text for text in row if text.strip()) for row in descriptions.texts]
    count = descriptions.mask.shape[1]
    mask = np.repeat(descriptions.mask.any(axis=1, keepdims=True), count, axis=1)
    return Descriptions([(whole,) * count for whole in wholes], mask)


def labelled(corpus: Corpus, split: str) -> list[Sticker]:
    """Stickers of one split, all of them with a label.

    Raises:
        ValueError: the split is empty or a sticker has no label; the message names it.
    """
    stickers = corpus.split(split)
    for sticker in stickers:
        if sticker.label is None:
            raise ValueError(
                f"the sticker {sticker.id!r} of the split '{split}' has no label: "
                f"give it one in the corpus {corpus.card.name} or take it out"
            )
    return stickers


def labels_of(stickers: Sequence[Sticker]) -> NDArray[np.int64]:
    """[n] label indices; every sticker must have one."""
    return np.array([-1 if sticker.label is None else sticker.label for sticker in stickers], dtype=np.int64)


def data_fingerprint(
    stickers: Sequence[Sticker], labels: Sequence[str], descriptions: Sequence[Descriptions]
) -> str:
    """SHA-256 of what is learnt from, wherever it lies: ids, splits, labels and texts."""
    facts: dict[str, Any] = {
        "labels": list(labels),
        "stickers": [(sticker.id, sticker.split, sticker.label) for sticker in stickers],
        "texts": [found.texts for found in descriptions],
    }
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()
