"""Learning a handful of stickers by heart: whoever cannot do that has a mistake in the data, loss or rate."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.train.config import TrainConfig, build_config
from mghft.train.data.descriptions import labelled
from mghft.train.data.splits import open_corpus
from mghft.train.runs.files import read_json

# Steps that suffice for a small network at the learning rate below, several times over.
_STEPS = 600
_RATE = 1e-3
# Mean of -log p below which the answers are no luck.
_SURE = 0.1
ENOUGH = 0.99


class OverfitFailedError(RuntimeError):
    """The network did not learn what it was shown."""

    exit_code = 1


def overfit_config(config: TrainConfig) -> TrainConfig:
    """The configuration of such a check: as given, without all that keeps a network from learning by heart.

    Augmentation, dropout, decay, smoothing and running mean are off; the rate is 1e-3 unless `lr` is given;
    epochs are as many as 600 steps need; it ends with the first epoch that is sure of every sticker.
    """
    if config.overfit is None:
        return config
    batch = min(config.batch_size, config.overfit)
    epochs = max(config.epochs, -(-_STEPS // max(1, config.overfit // batch)))
    changes: dict[str, Any] = {
        "model": {**config.model, "drop_path": 0.0, "fusion_dropout": 0.0},
        "view_dropout": 0.0,
        "label_smoothing": 0.0,
        "weight_decay": 0.0,
        "ema_decay": None,
        "repeats": 1,
        "augmentation": {**config.augmentation.model_dump(), "off": True},
        "batch_size": batch,
        "epochs": epochs,
        "lr": config.lr or _RATE,
        "min_lr": config.lr or _RATE,
        "warmup_epochs": min(config.warmup_epochs, epochs // 20),
        "checkpoint_every_epochs": max(1, epochs // 10),
    }
    return build_config({**config.model_dump(), **changes})


def corpus_to_train_on(config: TrainConfig) -> Corpus:
    """The corpus of a run; for the check its stickers are both what is learnt and what is judged."""
    corpus = open_corpus(config)
    if config.overfit is None:
        return corpus
    chosen = choose(labelled(corpus, "train"), config.overfit, config.seed)
    again = [dataclasses.replace(sticker, split="validation") for sticker in chosen]
    return dataclasses.replace(corpus, stickers=[*chosen, *again])


def choose(stickers: list[Sticker], count: int, seed: int) -> list[Sticker]:
    """`count` stickers, the labels by turns as long as there are some of each.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(stickers):
        raise ValueError(f"overfit: the training split has {len(stickers)} stickers, not {count}: give fewer")
    by_label = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(len(stickers)).tolist():
        by_label[stickers[index].label].append(index)
    turns = [
        (turn, label, index)
        for label, found in by_label.items()
        for turn, index in enumerate(found)
        if label is not None
    ]
    return [stickers[index] for _, _, index in sorted(turns)[:count]]


def learnt_by_heart(config: TrainConfig, state: dict[str, Any]) -> bool:
    """Whether the check is over before its last epoch."""
    learnt: bool = state["best_accuracy"] == 1.0 and state["best_loss"] < _SURE
    return config.overfit is not None and learnt


def verdict(run: Path, count: int) -> str:
    """The result of a finished check in one sentence.

    Raises:
        OverfitFailedError: fewer than 99 % of the stickers are right; one sentence.
    """
    summary = read_json(run / "summary.json")
    share, epochs = summary["best_accuracy"], summary["epoch"]
    if share < ENOUGH:
        raise OverfitFailedError(
            f"only {share:.1%} of {count} stickers were learnt by heart in {epochs} epochs: give more "
            "--epochs or another --lr; if that does not help, look at the labels, the images and the loss"
        )
    return f"learnt by heart: {share:.1%} of {count} stickers after {epochs} epochs"
