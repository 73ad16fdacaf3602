"""Labels predicted from texts without training MGHFT: a cross-validated linear probe, nearest neighbours.

Stickers that show the same thing stay in one fold, and the folds depend on stickers and seed alone, never on
the texts: so two prompts meet the same folds and can be compared sticker by sticker.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from mghft.train.probing.described_runs import DescribedSticker

Labels = NDArray[np.int64]

GROUPINGS = ("auto", "picture", "name", "folder")
FOLDS = 5
# One division into folds moves the accuracy of 50 stickers by points; the mean over some moves less.
REPEATS = 4
NEIGHBOURS = 5
# Ridge penalty on standardised features scaled to length 1. Fixed and not searched: with 8 stickers per class
# an inner search follows chance, and no prompt should win by luck in it. Figures: docs/prompt_scores.md.
ALPHA = 1.0
# Fewer folders than this are art styles or classes, not sets of stickers.
_MIN_FOLDERS = 4 * FOLDS
_TIE = 1e-5
_CHUNK = 512


def group_stickers(stickers: Sequence[DescribedSticker], grouping: str = "auto") -> tuple[Labels, str]:
    """Group stickers that must not be on both sides of a fold.

    The same picture (by its hash) is always kept together; beside it the same file name (an emoji drawn in
    several styles) or the same folder (a sticker set). Identical texts are not: that a prompt gives two
    stickers the same text is what is measured, and folds would differ between prompts.

    Args:
        stickers: labelled ones of a run.
        grouping: "picture", "name" or "folder"; "auto" chooses one by the paths and labels.

    Returns:
        [n] group numbers, and the rule that was used.

    Raises:
        ValueError: the rule is unknown.
    """
    if grouping not in GROUPINGS:
        raise ValueError(f"--together is {grouping!r}: give one of {', '.join(GROUPINGS)}")
    rule = _choose_grouping(stickers) if grouping == "auto" else grouping
    groups = list(range(len(stickers)))

    def root(number: int) -> int:
        while groups[number] != number:
            groups[number] = groups[groups[number]]
            number = groups[number]
        return number

    first: dict[Hashable, int] = {}
    for number, sticker in enumerate(stickers):
        keys: list[Hashable] = []
        if sticker.image_sha256:
            keys.append(("picture", sticker.image_sha256))
        if rule != "picture":
            keys.append((rule, _name(sticker) if rule == "name" else _folder(sticker)))
        for key in keys:
            groups[root(number)] = root(first.setdefault(key, number))
    numbers = [root(number) for number in range(len(stickers))]
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64), rule


def _name(sticker: DescribedSticker) -> str:
    return PurePosixPath(sticker.path).name


def _folder(sticker: DescribedSticker) -> str:
    return str(PurePosixPath(sticker.path).parent)


def _choose_grouping(stickers: Sequence[DescribedSticker]) -> str:
    """Folders that are sets: many, labels spread over them. File names: the same name, always one label."""
    folders = set(map(_folder, stickers))
    if _MIN_FOLDERS <= len(folders) < len(stickers):
        common = Counter(sticker.label for sticker in stickers).most_common(1)[0][0]
        if len({_folder(sticker) for sticker in stickers if sticker.label == common}) >= FOLDS:
            return "folder"
    labels: defaultdict[str, set[int | None]] = defaultdict(set)
    for sticker in stickers:
        labels[_name(sticker)].add(sticker.label)
    if len(labels) < len(stickers) and all(len(of_name) == 1 for of_name in labels.values()):
        return "name"
    return "picture"


def assign_folds(labels: Labels, groups: Labels, seed: int) -> NDArray[np.int64] | None:
    """Divide stickers into stratified folds that keep groups whole.

    Args:
        labels: [n].
        groups: [n].
        seed: of the divisions.

    Returns:
        [REPEATS, n] fold numbers, or None: fewer than two labels have two groups each, so nothing can be
        learned on some folds and tested on another.
    """
    spread = [len(set(groups[labels == label])) for label in np.unique(labels)]
    if sum(count >= 2 for count in spread) < 2:
        return None
    count = min(FOLDS, max(spread))
    folds = np.zeros((REPEATS, len(labels)), dtype=np.int64)
    for repeat in range(REPEATS):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed + repeat)
        with warnings.catch_warnings():
            # A label with fewer stickers than folds is absent from some folds' tests; that harms nothing.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            for number, (_, test) in enumerate(splitter.split(labels, labels, groups)):
                folds[repeat, test] = number
    return folds


def linear_probe(features: NDArray[np.float32], labels: Labels, folds: NDArray[np.int64]) -> Labels:
    """Predict by a ridge classifier on standardised features, fitted on the other folds.

    Args:
        features: [n, d].
        labels: [n].
        folds: [R, n].

    Returns:
        [R, n] predicted labels.
    """
    predicted = np.empty_like(folds)
    # float64: the standard deviation of a column that is constant must be seen to be 0.
    exact = features.astype(np.float64)
    for repeat, fold in _fold_numbers(folds):
        test = folds[repeat] == fold
        known = labels[~test]
        if len(np.unique(known)) == 1:
            predicted[repeat, test] = known[0]
            continue
        scaler = StandardScaler().fit(exact[~test])
        # Length 1 whatever the width: one penalty then fits one view and four, and every encoder.
        fitted, tested = (
            scaler.transform(rows) / np.sqrt(exact.shape[1]) for rows in (exact[~test], exact[test])
        )
        predicted[repeat, test] = RidgeClassifier(alpha=ALPHA).fit(fitted, known).predict(tested)
    return predicted


def nearest_neighbours(features: NDArray[np.float32], labels: Labels, folds: NDArray[np.int64]) -> Labels:
    """Predict the label that most of the nearest stickers of the other folds have, by cosine.

    The cosine of several views is the mean of the views' own. Whoever ties with the last neighbour votes as
    well (small models give many stickers one text); a draw goes to the nearer side. A sticker without text,
    as every one without a neighbour, gets the most frequent label.

    Args:
        features: [n, V, width], zeros where a view is missing.
        labels: [n].
        folds: [R, n].

    Returns:
        [R, n] predicted labels.
    """
    length = np.linalg.norm(features, axis=2, keepdims=True)
    unit = np.divide(features, length, out=np.zeros_like(features), where=length > 0)
    flat = unit.reshape(len(unit), -1) / np.sqrt(features.shape[1])
    has_text = (length[:, :, 0] > 0).any(axis=1)
    kinds, numbers = np.unique(labels, return_inverse=True)
    one_hot = np.eye(len(kinds), dtype=np.float32)[numbers]
    predicted = np.empty_like(folds)
    count = min(NEIGHBOURS, len(flat))
    for start in range(0, len(flat), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosine = flat[rows] @ flat.T
        for repeat in range(len(folds)):
            fold = folds[repeat]
            usable = (fold[rows, None] != fold[None, :]) & has_text[None, :] & has_text[rows, None]
            near = np.where(usable, cosine, -np.inf)
            last = np.partition(near, -count, axis=1)[:, -count, None]
            voters = usable & (near >= last - _TIE)
            votes = voters.astype(np.float32) @ one_hot
            # Cosines lie in [-1, 1]: their share of the votes settles draws and nothing else.
            closeness = np.where(voters, cosine + 1, 0) @ one_hot
            score = votes + closeness / (4 * np.maximum(votes.sum(1, keepdims=True), 1))
            predicted[repeat, rows] = kinds[score.argmax(1)]
            for row in np.flatnonzero(~voters.any(axis=1)):
                others = numbers[fold != fold[start + row]]
                predicted[repeat, start + row] = kinds[np.bincount(others).argmax()]
    return predicted


def _fold_numbers(folds: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(repeat, int(fold)) for repeat, row in enumerate(folds) for fold in np.unique(row)]
