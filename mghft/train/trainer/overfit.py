"""The overfit check: a network that cannot learn a handful of stickers has a fault in data, loss or rate."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np

from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.text import plural
from mghft.train.data.descriptions import labelled_stickers
from mghft.train.runs.files import read_json

# Mean of -log p below which right predictions are no luck.
_CERTAIN = 0.1
# Share of right predictions that passes.
_ENOUGH = 0.99


class OverfitFailedError(RuntimeError):
    """The network did not learn the stickers of the overfit check."""

    exit_code = 1


def overfit_corpus(corpus: Corpus, count: int, seed: int) -> Corpus:
    """Return a corpus of `count` training stickers, which are its validation split as well."""
    chosen = choose_stickers(labelled_stickers(corpus, "train"), count, seed)
    validation = [dataclasses.replace(sticker, split="validation") for sticker in chosen]
    return dataclasses.replace(corpus, stickers=[*chosen, *validation])


def choose_stickers(stickers: list[Sticker], count: int, seed: int) -> list[Sticker]:
    """Return `count` stickers, the labels by turns as long as a label has stickers left.

    Raises:
        ValueError: there are not so many.
    """
    if count > len(stickers):
        raise ValueError(
            f"overfit: the training split has {plural(stickers, 'sticker')}, not {count}: give fewer"
        )
    by_label = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(len(stickers)).tolist():
        by_label[stickers[index].label].append(index)
    turns = [
        (turn, label, index)
        for label, indices in by_label.items()
        for turn, index in enumerate(indices)
        if label is not None
    ]
    return [stickers[index] for _, _, index in sorted(turns)[:count]]


def is_learnt(accuracy: float, loss: float) -> bool:
    """Return whether every sticker is predicted right and with certainty, so that the check is over."""
    return accuracy == 1.0 and loss < _CERTAIN


def verdict(run: Path, count: int) -> str:
    """Return the result of a finished check in one sentence.

    Raises:
        OverfitFailedError: fewer than 99 % of the stickers are predicted right; one sentence.
    """
    summary = read_json(run / "summary.json")
    share, epochs = summary["best_accuracy"], plural(summary["epoch"], "epoch")
    if share < _ENOUGH:
        raise OverfitFailedError(
            f"overfit check failed: {share:.1%} of {count} stickers after {epochs}: give more --epochs or "
            "another --lr; if that does not help, look at the labels, the images and the loss"
        )
    return f"overfit check passed: {share:.1%} of {count} stickers after {epochs}"
