"""Scores of prompts without training MGHFT: labels predicted from the texts, and counts on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.files import write_json
from mghft.train.data.text_features import Encoder, FeatureCache, load_encoder
from mghft.train.evaluation.bootstrap import accuracy_and_f1, draw_groups, paired_differences
from mghft.train.options import Pooling, default_cache_folder
from mghft.train.probing.described_runs import (
    DescribedRun,
    DescribedSticker,
    cut_to_common,
    cut_to_splits,
    find_runs,
)
from mghft.train.probing.lexicon import scripts_of
from mghft.train.probing.probe import (
    FOLDS,
    NEIGHBOURS,
    REPEATS,
    Labels,
    assign_folds,
    group_stickers,
    linear_probe,
    nearest_neighbours,
)
from mghft.train.probing.scores import (
    ALL_VIEWS,
    LabelSummary,
    Majority,
    Origin,
    ProbeMetrics,
    PromptScore,
    Scores,
)
from mghft.train.probing.text_statistics import count_texts

FILE = "score.json"
# Below this many stickers a figure is an anecdote.
FEW = 30
# Above this share of unknown word pieces the encoder does not read the language.
_MANY_UNKNOWN = 0.1


class ScoreConfig(BaseModel):
    """Settings of the scoring; the defaults are those of the command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(default="minilm", description="text encoder of BERT's kind, or 'minilm'")
    pooling: Pooling = Field(default="last4_masked_mean", description="as in training")
    splits: tuple[str, ...] | None = Field(default=None, description="None: all but test")
    together: str = Field(default="auto", description="what must not be on both sides of a fold")
    seed: int = Field(default=0, ge=0, description="of folds and bootstrap")
    cache_dir: Path | None = Field(default=None, description="folder of text features")
    corrections: Path | None = Field(default=None, description="table laid over the views of every run")


@dataclass(frozen=True)
class _Labelled:
    """The labelled stickers of the runs, which are the same in each, with their folds and bootstrap draws."""

    rows: NDArray[np.int64]
    labels: Labels
    groups: Labels
    folds: NDArray[np.int64]
    draws: NDArray[np.uint16]


class _Probes(NamedTuple):
    """Metrics by view, and [n] how often the linear probe on all views was right about each sticker."""

    probe: dict[str, ProbeMetrics]
    neighbours: dict[str, ProbeMetrics]
    right: NDArray[np.float64]


def score_prompts(paths: Sequence[Path], config: ScoreConfig, encoder: Encoder | None = None) -> Scores:
    """Score runs on the stickers that all of them have, and write `score.json` into each.

    Args:
        paths: run folders, or folders of trials.
        config: how.
        encoder: None loads the one that the configuration names.

    Raises:
        FileNotFoundError, ValueError: as `find_runs`, `cut_to_splits`, `cut_to_common`.
    """
    runs, notes = find_runs(paths, config.corrections)
    runs, left_out = cut_to_splits(runs, config.splits)
    runs, not_shared = cut_to_common(runs)
    summary, labelled, on_labels = _prepare(runs[0].stickers, config.together, config.seed)
    notes += [*left_out, *not_shared, *on_labels]
    encoder = encoder or load_encoder(config.encoder, config.pooling, _device())
    folder = config.cache_dir or default_cache_folder()
    cache = FeatureCache(encoder, pooling=config.pooling, folder=folder, progress=True)
    encoder_fingerprint = encoder.fingerprint()
    scores, right = [], []
    for run in runs:
        texts = [tuple(sticker.texts[view] for view in run.views) for sticker in run.stickers]
        features = cache.features(texts).numpy()
        probes = None if labelled is None else _probe_views(features, run.views, labelled)
        if probes is not None:
            right.append(probes.right)
        notes += _language_notes(run, config.encoder, unknown_share(encoder, texts))
        scores.append(
            PromptScore(
                origin=_origin(run, config, encoder_fingerprint),
                beside=[other.name for other in runs if other is not run],
                labels=summary,
                probe=None if probes is None else probes.probe,
                neighbours=None if probes is None else probes.neighbours,
                counts=count_texts(run.stickers, features, run.views, run.language),
            )
        )
    differences = paired_differences(np.stack(right), labelled.groups, labelled.draws) if labelled else []
    for run, score in zip(runs, scores, strict=True):
        write_json(run.folder / FILE, score.to_json(), allow_nan=False)
    return Scores(scores, differences, notes)


def _prepare(
    stickers: Sequence[DescribedSticker], grouping: str, seed: int
) -> tuple[LabelSummary, _Labelled | None, list[str]]:
    """Labels, groups and folds of the stickers, and notes; None where labels do not suffice for a probe."""
    rows = [row for row, sticker in enumerate(stickers) if sticker.label is not None]
    chosen = [stickers[row] for row in rows]
    names = {sticker.label: sticker.label_name or str(sticker.label) for sticker in chosen}
    if not chosen:
        note = "no sticker has a label: only what can be counted is given"
        return LabelSummary(len(stickers), 0, []), None, [note]
    notes = []
    if len(chosen) < len(stickers):
        notes.append(f"{len(stickers) - len(chosen)} stickers have no label: they are counted, not probed")
    labels = np.array([sticker.label for sticker in chosen], dtype=np.int64)
    groups, rule = group_stickers(chosen, grouping)
    folds = assign_folds(labels, groups, seed)
    frequent, count = Counter(labels.tolist()).most_common(1)[0]
    summary = LabelSummary(
        stickers=len(stickers),
        labelled=len(chosen),
        labels=sorted(names.values()),
        groups=len(set(groups.tolist())),
        together=rule,
        majority=Majority(names[frequent], count / len(labels)),
    )
    if folds is None:
        reason = "the labels do not suffice for a probe (two labels with two groups each are needed)"
        return summary, None, [*notes, f"{reason}: only what can be counted is given"]
    if len(chosen) < FEW:
        notes.append(f"{len(chosen)} stickers are too few to rank prompts: take hundreds")
    return summary, _Labelled(np.array(rows), labels, groups, folds, draw_groups(groups, seed)), notes


def _probe_views(features: NDArray[np.float32], views: Sequence[str], labelled: _Labelled) -> _Probes:
    chosen = features[labelled.rows]
    columns = {view: chosen[:, column : column + 1] for column, view in enumerate(views)}
    probe: dict[str, ProbeMetrics] = {}
    neighbours: dict[str, ProbeMetrics] = {}
    for view, vectors in {**columns, ALL_VIEWS: chosen}.items():
        # All views come last: theirs are the predictions that are compared.
        predicted = linear_probe(vectors.reshape(len(vectors), -1), labelled.labels, labelled.folds)
        probe[view] = _metrics(predicted, labelled)
        neighbours[view] = _metrics(nearest_neighbours(vectors, labelled.labels, labelled.folds), labelled)
    return _Probes(probe, neighbours, (predicted == labelled.labels).mean(axis=0))


def _metrics(predicted: Labels, labelled: _Labelled) -> ProbeMetrics:
    accuracy, f1 = accuracy_and_f1(predicted, labelled.labels, labelled.draws)
    return ProbeMetrics(accuracy.value, accuracy.interval, f1.value, f1.interval)


def _origin(run: DescribedRun, config: ScoreConfig, encoder_fingerprint: str) -> Origin:
    return Origin(
        run=run.name,
        prompt=run.prompt,
        prompt_sha256=run.prompt_sha256,
        language=run.language,
        model=run.model,
        corpus=run.corpus,
        fingerprint=run.fingerprint,
        encoder=config.encoder,
        encoder_fingerprint=encoder_fingerprint,
        pooling=config.pooling,
        seed=config.seed,
        folds=FOLDS,
        repeats=REPEATS,
        neighbours_k=NEIGHBOURS,
        splits=sorted({sticker.split for sticker in run.stickers}),
    )


def _language_notes(run: DescribedRun, encoder: str, unknown: float) -> list[str]:
    notes = []
    if scripts_of(run.language) is None:
        notes.append(
            f"{run.name}: the language {run.language!r} has no script in the list, so it is not checked"
        )
    if unknown > _MANY_UNKNOWN:
        notes.append(
            f"{run.name}: {unknown:.0%} of the word pieces are unknown to the encoder {encoder}, so its "
            "figures come out too low: give one that reads this language with --encoder"
        )
    return notes


def unknown_share(encoder: Encoder, texts: Sequence[Sequence[str]]) -> float:
    """Return the share of word pieces that the encoder's vocabulary lacks; 0 where it has no such token."""
    tokenizer = getattr(encoder, "tokenizer", None)
    unknown = getattr(tokenizer, "unk_token_id", None)
    distinct = sorted({text for row in texts for text in row if text.strip()})
    if tokenizer is None or unknown is None or not distinct:
        return 0.0
    pieces = [piece for ids in tokenizer(distinct, truncation=True)["input_ids"] for piece in ids]
    return pieces.count(unknown) / len(pieces)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
