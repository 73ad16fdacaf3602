"""Ranks: how a text fits its own picture, or another text of its sticker, among those of other stickers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mghft.model.encoders import ImageTextEncoder

_SENTENCE = re.compile(r"(?<=[.!?。!?])\s*")
# Words that a tower of 64 to 77 tokens surely reads whole.
_CHUNK_WORDS = 30
_BATCH = 64


def chunks(text: str) -> list[str]:
    """Return a text in pieces that a short tower reads whole: sentences, long ones cut after 30 words.

    Chinese has no spaces: a piece of it is at most as many characters.
    """
    pieces = []
    for sentence in filter(None, map(str.strip, _SENTENCE.split(text))):
        words = sentence.split()
        if len(words) > _CHUNK_WORDS:
            pieces += [
                " ".join(words[start : start + _CHUNK_WORDS]) for start in range(0, len(words), _CHUNK_WORDS)
            ]
        elif len(words) == 1 and len(sentence) > 2 * _CHUNK_WORDS:
            pieces += [
                sentence[start : start + _CHUNK_WORDS] for start in range(0, len(sentence), _CHUNK_WORDS)
            ]
        else:
            pieces.append(sentence)
    return pieces or [text]


def text_vectors(encoder: ImageTextEncoder, texts: Sequence[str]) -> Tensor:
    """Return one normalised vector per text, [n, P]: the mean over its pieces; zeros for ""."""
    distinct = sorted({text for text in texts if text.strip()})
    pieces = [(place, piece) for place, text in enumerate(distinct) for piece in chunks(text)]
    encoded = [
        encoder.texts([piece for _, piece in pieces[start : start + _BATCH]])
        for start in range(0, len(pieces), _BATCH)
    ]
    width = encoded[0].shape[1] if encoded else 1
    sums = torch.zeros(len(distinct), width)
    if encoded:
        sums.index_add_(0, torch.tensor([place for place, _ in pieces]), torch.cat(encoded))
    by_text = dict(zip(distinct, F.normalize(sums, dim=1), strict=True))
    nothing = torch.zeros(width)
    return torch.stack([by_text.get(text, nothing) for text in texts])


def picture_ranks(encoder: ImageTextEncoder, projected: Tensor, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return how well each text fits its picture among the texts of other stickers, [n]; NaN for "".

    Args:
        encoder: with texts.
        projected: [n, Q, P] of the pictures.
        texts: [n], one view.

    Returns:
        The share of other stickers with another text whose text fits this picture worse, ties by half: 1 none
        fits better, .5 chance. Stickers with the same text are no comparison.
    """
    vectors = text_vectors(encoder, texts)
    return _shares(encoder.logits(projected, vectors).double().numpy(), texts)


class Control(NamedTuple):
    """Mean logits of a view: of its own texts and of three that are known to be worse.

    Attributes:
        own: of the stickers' own texts.
        others: of other stickers' other texts.
        shuffled: of the own words in another order.
        others_shuffled: of the words of another sticker's text in another order.
    """

    own: float
    others: float
    shuffled: float
    others_shuffled: float

    @property
    def in_order(self) -> bool:
        """True where own texts are above other stickers', and these above their words in another order."""
        return self.own > self.others > self.others_shuffled


def control_scores(
    encoder: ImageTextEncoder, projected: Tensor, texts: Sequence[str], seed: int
) -> Control | None:
    """Return what the encoder makes of texts whose order is known; None where all texts are the same.

    An encoder that does not put the own texts above those of other stickers is no judge of this corpus; one
    that does not put texts above their shuffled words reads words, not sentences.
    """
    there = np.array([bool(text.strip()) for text in texts])
    numbers = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)[1]
    foreign = there[:, None] & there & (numbers[:, None] != numbers)
    if not foreign.any():
        return None
    rng = np.random.default_rng(seed)
    mixed = [_shuffled(text, rng) for text in texts]
    logits = encoder.logits(projected, text_vectors(encoder, texts)).double().numpy()
    shuffled = encoder.logits(projected, text_vectors(encoder, mixed)).double().numpy()
    own = np.diagonal(logits)[there].mean()
    return Control(
        float(own),
        float(logits[foreign].mean()),
        float(np.diagonal(shuffled)[there].mean()),
        float(shuffled[foreign].mean()),
    )


def _shuffled(text: str, rng: np.random.Generator) -> str:
    """Return the words of a text in another order, if they have one; Chinese is shuffled by character."""
    words = text.split()
    joint = " " if len(words) > 1 else ""
    words = words if joint else list(text.strip())
    if len(set(words)) < 2:
        return text
    while True:
        mixed = [words[place] for place in rng.permutation(len(words))]
        if mixed != words:
            return joint.join(mixed)


def agreement_ranks(
    first: Tensor, second: Tensor, texts: Sequence[str], there: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how well each text of one run fits the text of its sticker in another run, [n].

    Args:
        first, second: [n, width] vectors of the same view in two runs.
        texts: [n] of the second run.
        there: [n], whether both have a text; NaN where not.
    """
    scores = (F.normalize(first, dim=1) @ F.normalize(second, dim=1).T).double().numpy()
    return _shares(scores, [text if ok else "" for text, ok in zip(texts, there, strict=True)])


def _shares(scores: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the rank of the diagonal of [n, n] in each row, among columns of other texts."""
    numbers = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)[1]
    there = np.array([bool(text.strip()) for text in texts])
    found = np.full(len(texts), np.nan)
    for row in np.flatnonzero(there):
        others = there & (numbers != numbers[row])
        if others.any():
            own, rest = scores[row, row], scores[row, others]
            found[row] = float((rest < own).mean() + 0.5 * (rest == own).mean())
    return found
