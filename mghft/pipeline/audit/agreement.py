"""The labels of single annotators: how far they agree, and soft labels that hold their doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.corpora.sticker import Sticker


@dataclass(frozen=True)
class Agreement:
    """Agreement on the stickers on which all annotators voted.

    Attributes:
        stickers: how many they are.
        annotators: votes on each.
        unanimous: share on which all agree.
        majority: share on which more than half agree, the unanimous ones among them.
        kappa: Fleiss' kappa (Psychological Bulletin 76, 1971): 1 full agreement, 0 that of chance.
        label_is_majority: share of those with a majority whose label it is.
        by_label: for each label name, the share of votes that its stickers' label got.
    """

    stickers: int
    annotators: int
    unanimous: float
    majority: float
    kappa: float
    label_is_majority: float
    by_label: dict[str, float]

    def lines(self) -> list[str]:
        """Return the figures, one sentence a line."""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.by_label.items())
        return [
            f"{self.annotators} annotators on {self.stickers:,} stickers: all agree on {self.unanimous:.1%}, "
            f"more than half on {self.majority:.1%}, Fleiss' kappa {self.kappa:.3f}",
            f"the label is that of the majority, where there is one, in {self.label_is_majority:.1%}",
            f"share of votes that agree with the label: {shares}",
        ]


def vote_counts(stickers: Sequence[Sticker], classes: int) -> NDArray[np.int64]:
    """Return [n, classes] votes per sticker and label."""
    counts = np.zeros((len(stickers), classes), dtype=np.int64)
    for row, sticker in enumerate(stickers):
        for vote in sticker.votes:
            if vote is not None:
                counts[row, vote] += 1
    return counts


def soft_labels(stickers: Sequence[Sticker], classes: int) -> NDArray[np.float64]:
    """Return [n, classes] shares of the annotators' votes; where there are none, all of it on the label.

    Raises:
        ValueError: a sticker has neither votes nor a label.
    """
    counts = vote_counts(stickers, classes).astype(np.float64)
    for row in np.flatnonzero(counts.sum(1) == 0):
        sticker = stickers[row]
        if sticker.label is None:
            raise ValueError(f"the sticker {sticker.id!r} has neither a label nor annotators' votes")
        counts[row, sticker.label] = 1
    shares: NDArray[np.float64] = counts / counts.sum(1, keepdims=True)
    return shares


def measure_agreement(stickers: Sequence[Sticker], labels: Sequence[str]) -> Agreement | None:
    """Return how far annotators agree; None where no sticker has at least two votes, all of them given."""
    most = max((len(sticker.votes) for sticker in stickers), default=0)
    rated = [s for s in stickers if len(s.votes) == most and None not in s.votes and s.label is not None]
    if most < 2 or not rated:
        return None
    counts = vote_counts(rated, len(labels))
    own = np.array([-1 if sticker.label is None else sticker.label for sticker in rated])
    top = counts.max(1)
    clear = 2 * top > most
    pairs = (counts * (counts - 1)).sum(1) / (most * (most - 1))
    chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    right = counts[np.arange(len(rated)), own] / most
    return Agreement(
        stickers=len(rated),
        annotators=most,
        unanimous=float((top == most).mean()),
        majority=float(clear.mean()),
        kappa=1.0 if chance == 1 else (float(pairs.mean()) - chance) / (1 - chance),
        label_is_majority=float((counts.argmax(1) == own)[clear].mean()) if clear.any() else 0.0,
        by_label={
            name: float(right[own == index].mean())
            for index, name in enumerate(labels)
            if (own == index).any()
        },
    )
