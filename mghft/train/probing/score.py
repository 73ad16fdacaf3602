"""A score for prompts without training MGHFT: what texts tell about the label, and what can be counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.files import write_json
from mghft.train.data.text_features import Encoder, FeatureCache
from mghft.train.evaluation.bootstrap import (
    Difference,
    Figure,
    accuracy_and_f1,
    draw_groups,
    paired_differences,
)
from mghft.train.options import default_cache_folder
from mghft.train.probing.described_runs import Row, Run, cut_to_common, cut_to_splits, find_runs
from mghft.train.probing.lexicon import scripts_of
from mghft.train.probing.probe import (
    FOLDS,
    NEIGHBOURS,
    REPEATS,
    Labels,
    assign_folds,
    keep_together,
    linear_probe,
    nearest_neighbours,
)
from mghft.train.probing.text_statistics import count_texts

FILE = "score.json"
# The views side by side, as MGHFT gets them.
TOGETHER = "all"
# Below this many stickers a figure is an anecdote.
FEW = 30


class ScoreConfig(BaseModel):
    """How prompts are scored; the defaults are those of the command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(default="minilm", description="text encoder of BERT's kind, or 'minilm'")
    pooling: Literal["last4_masked_mean", "last4_mean", "masked_mean", "cls"] = Field(
        default="last4_masked_mean", description="as in training"
    )
    splits: tuple[str, ...] | None = Field(default=None, description="None: all but test")
    together: str = Field(default="auto", description="what must not be on both sides of a fold")
    seed: int = Field(default=0, ge=0, description="of folds and bootstrap")
    cache_dir: Path | None = Field(default=None, description="folder of text features")


@dataclass(frozen=True)
class Scores:
    """Scores of some prompts on the same stickers.

    Attributes:
        runs: per run what stands in its score.json.
        differences: of the runs' accuracies (linear probe, all views), every pair.
        notes: sentences on what a reader must know.
    """

    runs: list[dict[str, Any]]
    differences: list[Difference]
    notes: list[str]


@dataclass(frozen=True)
class _Labelled:
    """The labelled stickers of the runs, which are the same in each, with their folds and bootstrap draws."""

    places: NDArray[np.int64]
    labels: Labels
    groups: Labels
    folds: NDArray[np.int64]
    draws: NDArray[np.uint16]


def score_prompts(paths: Sequence[Path], config: ScoreConfig, encoder: Encoder | None = None) -> Scores:
    """Scores runs and writes `score.json` into each.

    Args:
        paths: run folders, or folders of tries.
        config: how.
        encoder: None loads the one that the configuration names.

    Raises:
        FileNotFoundError, ValueError: as `find_runs`, `cut_to_splits`, `cut_to_common`.
    """
    runs, notes = find_runs(paths)
    for cut in (lambda found: cut_to_splits(found, config.splits), cut_to_common):
        runs, more = cut(runs)
        notes += more
    facts, labelled, more = _prepare(runs[0].rows, config)
    notes += more
    encoder = encoder or _load_encoder(config)
    folder = config.cache_dir or default_cache_folder()
    cache = FeatureCache(encoder, pooling=config.pooling, folder=folder, progress=True)
    scores, right = [], []
    for run in runs:
        texts = [tuple(row[view] or "" for view in run.views) for row in run.rows]
        features = cache.features(texts).numpy()
        found: dict[str, Any] = {"probe": None, "neighbours": None}
        if labelled is not None:
            found, correct = _probe_views(features, run.views, labelled)
            right.append(correct)
        counts = count_texts(run.rows, features, run.views, run.language)
        if scripts_of(run.language) is None:
            notes.append(
                f"{run.name}: the language {run.language!r} has no script in the list, so it is not checked"
            )
        share = unknown_share(encoder, texts)
        if share > 0.1:
            notes.append(
                f"{run.name}: {share:.0%} of the word pieces are unknown to the encoder {config.encoder}, so "
                "its figures come out too low: give one that reads this language with --encoder"
            )
        beside = {"beside": [other.name for other in runs if other is not run]}
        scores.append({**_head(run, config, encoder), **beside, **facts, **found, "counts": counts})
    differences = paired_differences(np.stack(right), labelled.groups, labelled.draws) if labelled else []
    for run, score in zip(runs, scores, strict=True):
        _write(run.folder / FILE, score)
    return Scores(scores, differences, notes)


def _prepare(rows: Sequence[Row], config: ScoreConfig) -> tuple[dict[str, Any], _Labelled | None, list[str]]:
    """What is the same for all runs: labels, groups, folds; None where labels do not suffice for a probe."""
    places = np.array([place for place, row in enumerate(rows) if row["label"] is not None], dtype=np.int64)
    chosen = [rows[place] for place in places]
    names = {row["label"]: row["label_name"] or str(row["label"]) for row in chosen}
    facts: dict[str, Any] = {"stickers": len(rows), "labelled": len(chosen), "labels": sorted(names.values())}
    if not chosen:
        return facts, None, ["no sticker has a label: only what can be counted is given"]
    notes = []
    if len(chosen) < len(rows):
        notes.append(f"{len(rows) - len(chosen)} stickers have no label: they are counted, not probed")
    labels = np.array([row["label"] for row in chosen], dtype=np.int64)
    groups, rule = keep_together(chosen, config.together)
    folds = assign_folds(labels, groups, config.seed)
    frequent, count = Counter(labels.tolist()).most_common(1)[0]
    facts |= {
        "groups": len(set(groups.tolist())),
        "together": rule,
        "majority": {"label": names[frequent], "accuracy": count / len(labels)},
    }
    if folds is None:
        reason = "the labels do not suffice for a probe (two labels with two groups each are needed)"
        return facts, None, [*notes, f"{reason}: only what can be counted is given"]
    if len(chosen) < FEW:
        notes.append(f"{len(chosen)} stickers are too few to rank prompts: take hundreds")
    draws = draw_groups(groups, config.seed)
    return facts, _Labelled(places, labels, groups, folds, draws), notes


def _probe_views(
    features: NDArray[np.float32], views: Sequence[str], labelled: _Labelled
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Figures of every view and of all; and [n] how often the probe on all views was right."""
    chosen = features[labelled.places]
    result: dict[str, Any] = {"probe": {}, "neighbours": {}}
    right = np.zeros(len(chosen))
    for place, view in enumerate([*views, TOGETHER]):
        part = chosen if view == TOGETHER else chosen[:, place : place + 1]
        probed = linear_probe(part.reshape(len(part), -1), labelled.labels, labelled.folds)
        near = nearest_neighbours(part, labelled.labels, labelled.folds)
        for method, predicted in (("probe", probed), ("neighbours", near)):
            accuracy, f1 = accuracy_and_f1(predicted, labelled.labels, labelled.draws)
            result[method][view] = _figures(accuracy, f1)
        if view == TOGETHER:
            right = (probed == labelled.labels).mean(axis=0)
    head = result["probe"][TOGETHER]
    # What a list of tries shows, without knowing of views and methods.
    return {**head, "interval": head["accuracy_interval"], **result}, right


def _figures(accuracy: Figure, f1: Figure) -> dict[str, Any]:
    return {
        "accuracy": accuracy.value,
        "accuracy_interval": list(accuracy.interval),
        "f1_macro": f1.value,
        "f1_macro_interval": list(f1.interval),
    }


def _head(run: Run, config: ScoreConfig, encoder: Encoder) -> dict[str, Any]:
    """Where a score comes from; the figures of a run without labels are null."""
    prompt = run.manifest["prompt"]
    return {
        "format": 1,
        "run": run.name,
        "prompt": prompt["name"],
        "prompt_sha256": prompt["sha256"],
        "language": run.language,
        "model": run.manifest["model"]["name"],
        "corpus": run.manifest["corpus"]["card"],
        "fingerprint": run.manifest["fingerprint"],
        "encoder": config.encoder,
        "encoder_fingerprint": encoder.fingerprint(),
        "pooling": config.pooling,
        "seed": config.seed,
        "folds": FOLDS,
        "repeats": REPEATS,
        "neighbours_k": NEIGHBOURS,
        "splits": sorted({row["split"] for row in run.rows}),
        "accuracy": None,
        "f1_macro": None,
        "interval": None,
    }


def unknown_share(encoder: Encoder, texts: Sequence[Sequence[str]]) -> float:
    """Share of word pieces that the encoder's vocabulary does not hold; 0 where it has no such token."""
    tokenizer = getattr(encoder, "tokenizer", None)
    unknown = getattr(tokenizer, "unk_token_id", None)
    distinct = sorted({text for row in texts for text in row if text.strip()})
    if tokenizer is None or unknown is None or not distinct:
        return 0.0
    pieces = [piece for ids in tokenizer(distinct, truncation=True)["input_ids"] for piece in ids]
    return pieces.count(unknown) / len(pieces)


def _load_encoder(config: ScoreConfig) -> Encoder:
    import torch
    from transformers.utils.logging import disable_progress_bar

    from mghft.model import TextEncoder

    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TextEncoder.from_pretrained(config.encoder, pooling=config.pooling).to(device)


def _write(path: Path, score: dict[str, Any]) -> None:
    write_json(path, score, allow_nan=False)
