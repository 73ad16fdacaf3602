"""Stickers of a corpus joined with their descriptions, by id, never by position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import check_root
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.runs.corrections import CorrectionsRecord, open_corrections, read_corrections
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.text import near, near_paths, plural
from mghft.pipeline.views import VIEWS
from mghft.train.options import Sources

# The encoder of a package, by its name in `mghft.model.text_encoder`, which loads torch.
BUNDLED = "minilm"
_HUB_SECONDS = 10


@dataclass(frozen=True)
class Descriptions:
    """Texts of stickers, aligned with them.

    Attributes:
        texts: per sticker one text per view; "" where there is none.
        mask: [n, V], False where the view is missing (failed, or never described).
    """

    texts: list[tuple[str, ...]]
    mask: NDArray[np.bool_]

    def missing(self) -> int:
        """Return how many stickers have no view at all."""
        return int((~self.mask.any(axis=1)).sum())

    def whole(self) -> Descriptions:
        """Return every view with all views, joined in the model's order."""
        return self.repeated([" ".join(text for text in row if text.strip()) for row in self.texts])

    def repeated(self, wholes: Sequence[str]) -> Descriptions:
        """Return every view of a sticker with one text, masked where that is empty.

        Args:
            wholes: a text per sticker.
        """
        views = self.mask.shape[1]
        there = np.array([[bool(whole.strip())] for whole in wholes], dtype=np.bool_)
        return Descriptions([(whole,) * views for whole in wholes], np.repeat(there, views, axis=1))


@dataclass(frozen=True)
class DescribedTexts:
    """The texts of a run of `mghft describe`, read once for all splits.

    Attributes:
        run_folder: they were read from.
        views: names of the texts of a sticker, in order.
        by_id: texts of every sticker that the run has a row for; None where the row failed.
        raw: what the model wrote, or the imported file said, before it was taken apart; "" where nothing.
    """

    run_folder: Path
    views: tuple[str, ...]
    by_id: Mapping[str, tuple[str, ...] | None]
    raw: Mapping[str, str]

    def of(self, stickers: Sequence[Sticker]) -> Descriptions:
        """Return the descriptions of stickers, in their order; a failed or missing one is masked, no error.

        Raises:
            ValueError: the run shares no sticker with them, or failed for all of them.
        """
        if not any(sticker.id in self.by_id for sticker in stickers):
            raise ValueError(
                f"the descriptions {self.run_folder} and the corpus have no sticker id in common "
                f"({next(iter(self.by_id))!r} there, {stickers[0].id!r} here): they belong to another corpus"
            )
        nothing = ("",) * len(self.views)
        texts = [self.by_id.get(sticker.id) or nothing for sticker in stickers]
        mask = np.array([[bool(text.strip()) for text in row] for row in texts], dtype=np.bool_)
        if not mask.any():
            raise ValueError(
                f"every description of this corpus in {self.run_folder} failed: see its column 'error', "
                "then describe again"
            )
        return Descriptions(texts, mask)

    def released(self, stickers: Sequence[Sticker]) -> Descriptions:
        """Return the texts as the released code feeds them: every view is the row's full text, lower-cased.

        Raises:
            ValueError: as `of`; or the run has stickers with views but without their full text.
        """
        found = self.of(stickers)
        wholes = [self.raw.get(sticker.id, "").lower() for sticker in stickers]
        lacking = [
            sticker.id
            for sticker, whole, mask in zip(stickers, wholes, found.mask, strict=True)
            if mask.any() and not whole.strip()
        ]
        if lacking:
            raise ValueError(
                f"{plural(len(lacking), 'description')} in {self.run_folder} lack the column 'raw', "
                f"the first is of {lacking[0]!r}: view_texts=released is for runs of `mghft data import-mg`"
            )
        return found.repeated(wholes)


def read_texts(run_folder: Path, views: Sequence[str], corrections: Path | None = None) -> DescribedTexts:
    """Read the texts of a run.

    Args:
        run_folder: output folder of `mghft describe`.
        views: columns to read, in the model's order.
        corrections: table that is laid over them; None: none.

    Raises:
        FileNotFoundError: the run folder does not exist or has no shards.
        ValueError: it is empty, lacks a view, or has no text at all in these views.
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
    rows: list[dict[str, Any]] = table.select(["sticker_id", "status", "raw", *VIEWS]).to_pylist()
    if (laid_over := open_corrections(corrections, run_folder)) is not None:
        rows = [laid_over.lay_over(row) for row in rows]
    texts = {
        row["sticker_id"]: tuple(row[view] or "" for view in views) if row["status"] == "ok" else None
        for row in rows
    }
    described = [text for text in texts.values() if text is not None]
    if described and not any(any(text) for text in described):
        raise ValueError(
            f"the run {run_folder} has no text in the views {', '.join(views)} (a run of `mghft zero-shot` "
            "has none): give a run of `mghft describe` that asked for them"
        )
    raw = {row["sticker_id"]: row["raw"] or "" for row in rows}
    return DescribedTexts(run_folder, tuple(views), texts, raw)


def check_sources(sources: Sources, *, use_text: bool) -> None:
    """Check that the names exist; needs no torch, which takes seconds to load, so a slip is answered at once.

    Raises:
        FileNotFoundError, ValueError: card, data or descriptions do not exist; one sentence.
    """
    card = load_card(sources.card)
    if sources.data is not None:
        check_root(card, sources.data)
    if sources.descriptions is not None and (use_text or sources.data is None):
        check_run_folder(sources.descriptions)


def check_encoder(name: str) -> None:
    """Check that a text encoder is there to be loaded, without loading it: a folder, cached, or on the hub.

    Raises:
        FileNotFoundError: it is nowhere; one sentence.
    """
    if name == BUNDLED or Path(name).is_dir():
        return
    import huggingface_hub

    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"the text encoder {name} does not exist{near_paths(Path(name))}: give a folder, a Hugging Face "
            f"id, or {BUNDLED}"
        )
    if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        huggingface_hub.HfApi().model_info(name, timeout=_HUB_SECONDS)
    except Exception as error:
        # Whatever keeps it away, for the user it is the same.
        raise FileNotFoundError(
            f"the text encoder {name} is no folder here{near(name, [BUNDLED])}, and as a Hugging Face id "
            f"neither cached nor reachable ({type(error).__name__}): on a machine with network run "
            f"`hf download {name}`, or give a folder or {BUNDLED}"
        ) from None


def check_run_folder(run_folder: Path) -> None:
    """Check that a folder holds descriptions.

    Raises:
        FileNotFoundError: the run folder does not exist or has no shards.
    """
    if not run_folder.is_dir():
        raise FileNotFoundError(
            f"the descriptions {run_folder} do not exist{near_paths(run_folder)}: give the run "
            "folder of 'mghft describe'"
        )
    if not any(run_folder.glob("descriptions-*.parquet")):
        raise FileNotFoundError(
            f"the folder {run_folder} has no descriptions-*.parquet: run 'mghft describe' into it first"
        )


def labelled_stickers(corpus: Corpus, split: str) -> list[Sticker]:
    """Return the stickers of one split, all of them with a label.

    Raises:
        ValueError: the split is empty or a sticker has no label; the message names it.
    """
    stickers = corpus.split(split)
    for sticker in stickers:
        if sticker.label is None:
            raise ValueError(
                f"the sticker {sticker.id!r} of the split '{split}' has no label: "
                f"give it one in the corpus {corpus.card.name} or remove it"
            )
    return stickers


def labels_of(stickers: Sequence[Sticker]) -> NDArray[np.int64]:
    """Return the label indices [n] of stickers, which all have one."""
    return np.array([-1 if sticker.label is None else sticker.label for sticker in stickers], dtype=np.int64)


def data_fingerprint(
    stickers: Sequence[Sticker],
    labels: Sequence[str],
    descriptions: Sequence[Descriptions],
    *,
    own_text: bool = False,
) -> str:
    """Return the SHA-256 of what is learnt from, wherever it lies: ids, splits, labels and texts.

    Args:
        own_text: the text on the stickers and their topics are learnt from too.
    """
    facts: dict[str, Any] = {
        "labels": list(labels),
        "stickers": [(sticker.id, sticker.split, sticker.label) for sticker in stickers],
        "texts": [described.texts for described in descriptions],
    }
    if own_text:
        facts["own_text"] = [(sticker.text, sticker.topic) for sticker in stickers]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()


def corrections_record(path: Path | None) -> CorrectionsRecord | None:
    """Return what a manifest says of a table of corrections; None without one."""
    if path is None:
        return None
    return read_corrections(path).record()
