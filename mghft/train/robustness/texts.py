"""Disturbances of descriptions: views taken away, texts of another sticker, label words taken out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from mghft.train.data.descriptions import Descriptions
from mghft.train.data.splits import Split
from mghft.train.evaluation.opened_run import OpenedRun
from mghft.train.probing.lexicon import label_forms, words


def views_to_hide(views: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each view, each two, and all of them, in the order of the model."""
    alone = [(view,) for view in views]
    pairs = list(combinations(views, 2)) if len(views) > 2 else []
    return [*alone, *pairs, *([tuple(views)] if len(views) > 1 else [])]


def hide_views(split: Split, hidden: Sequence[int]) -> Split:
    """Return the split as if these views, by number, had never been written."""
    assert split.mask is not None
    mask = split.mask.clone()
    mask[:, list(hidden)] = False
    return replace(split, mask=mask)


def exchange(split: Split, places: NDArray[np.int64]) -> Split:
    """Return the split with the descriptions of other stickers: row i has those of row `places[i]`."""
    assert split.features is not None and split.mask is not None
    rows = torch.from_numpy(places)
    return replace(split, features=split.features[rows], mask=split.mask[rows])


def derangement(count: int, seed: int) -> NDArray[np.int64]:
    """Return a permutation of [count] that leaves nothing in its place: one cycle through all, drawn by seed.

    Raises:
        ValueError: there is one sticker alone.
    """
    if count < 2:
        raise ValueError("descriptions cannot be exchanged: the split has one sticker alone")
    order = np.random.default_rng(seed).permutation(count)
    places = np.empty(count, dtype=np.int64)
    places[order] = np.roll(order, 1)
    return places


def within_classes(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return places of other stickers of the same class; the only sticker of a class keeps its own."""
    places = np.arange(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) > 1:
            places[rows] = rows[derangement(len(rows), seed)]
    return places


def across_classes(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return places of stickers of another class, drawn for each; with one class alone each keeps its own."""
    rng = np.random.default_rng(seed)
    places = np.arange(len(labels))
    for row, label in enumerate(labels):
        others = np.flatnonzero(labels != label)
        if len(others):
            places[row] = rng.choice(others)
    return places


def without_label_words(text: str, labels: Sequence[str]) -> str:
    """Return the text without any word that is a form of a label's name: happy, happiness, 快乐."""
    forms = frozenset().union(*(form for label in labels for form in label_forms(label)))
    # Chinese has no spaces to find a word by: longer forms first.
    for form in sorted((form for form in forms if not form.isascii()), key=len, reverse=True):
        text = text.replace(form, "")

    def keep(match: re.Match[str]) -> str:
        return "" if set(words(match.group())) & forms else match.group()

    return re.sub(r"[^\W\d_]+(?:['’][^\W\d_]+)*", keep, text)


def take_out_label_words(opened: OpenedRun, split: Split) -> tuple[Split, int]:
    """Return the split with texts encoded anew without label words, and how many texts had one."""
    assert split.descriptions is not None
    labels, changed = opened.run.labels, 0
    texts = []
    for row in split.descriptions.texts:
        shorter = tuple(without_label_words(text, labels) for text in row)
        changed += sum(new != old for new, old in zip(shorter, row, strict=True))
        texts.append(tuple(text if text.strip(" .,;:!?") else "" for text in shorter))
    mask = split.descriptions.mask & np.array([[bool(text) for text in row] for row in texts])
    described = Descriptions(texts, mask)
    features = opened.features(texts)
    return replace(split, descriptions=described, features=features, mask=torch.from_numpy(mask)), changed
