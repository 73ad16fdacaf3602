"""Token features of the text on stickers, as LORA and TGCA-PVT read them; computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from mghft.model.peers import TokenEncoder
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.progress import bar
from mghft.train.data.text_features import kept

# Texts that are encoded together.
_BATCH = 64


@dataclass(frozen=True)
class TokenFeatures:
    """Token features of many stickers; equal texts, of which "" is the most frequent, are kept once.

    Attributes:
        distinct: [m, length, width].
        rows: [n], of every sticker the row of its text.
    """

    distinct: Tensor
    rows: Tensor

    def of(self, indices: Tensor) -> Tensor:
        """Return the features of some stickers, [B, length, width]."""
        return self.distinct[self.rows[indices]]

    def head(self, count: int) -> TokenFeatures:
        """Return those of the first stickers alone."""
        return TokenFeatures(self.distinct, self.rows[:count])


def token_features(
    encoder: TokenEncoder, stickers: Sequence[Sticker], folder: Path, *, progress: bool = False
) -> TokenFeatures:
    """Encode the text on every sticker, "" where there is none.

    Args:
        folder: where the features are kept.
        progress: shown on stderr while texts are encoded.
    """
    texts = own_texts(stickers)
    distinct = sorted(set(texts))
    number = {text: row for row, text in enumerate(distinct)}

    def encode() -> Tensor:
        encoded = []
        with bar("text", "encoding texts", progress) as advance:
            for start in range(0, len(distinct), _BATCH):
                encoded.append(encoder.encode(distinct[start : start + _BATCH], _BATCH))
                advance(min(start + _BATCH, len(distinct)), len(distinct))
        return torch.cat(encoded)

    features = kept(folder, [encoder.fingerprint(), "tokens", distinct], encode)
    return TokenFeatures(features, torch.tensor([number[text] for text in texts]))


def own_texts(stickers: Sequence[Sticker]) -> list[str]:
    """Return the text on every sticker as it is encoded, lower-cased and stripped; "" where there is none."""
    return [(sticker.text or "").lower().strip() for sticker in stickers]


def topics_of(stickers: Sequence[Sticker]) -> list[str]:
    """Return the topic of every sticker; its file's name where the corpus has none, as TGCA's authors do."""
    return [sticker.topic or PurePosixPath(sticker.path).name for sticker in stickers]


def topic_numbers(stickers: Sequence[Sticker]) -> Tensor:
    """Return the topics as numbers, [n], equal for equal topics."""
    topics = topics_of(stickers)
    number = {topic: row for row, topic in enumerate(sorted(set(topics)))}
    return torch.tensor([number[topic] for topic in topics])


def topic_batches(topics: Tensor, indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return batches of whole topics, each as small as fits `batch_size`, or one topic that does not.

    Args:
        topics: [n] of all stickers.
        indices: stickers to share out.
    """
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(int(topics[index]), []).append(index)
    batches: list[list[int]] = []
    for group in members.values():
        if batches and len(batches[-1]) + len(group) <= batch_size:
            batches[-1].extend(group)
        else:
            batches.append(list(group))
    return batches
