"""Text features: what the frozen encoder says of every view, computed once and kept by fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mghft.pipeline.progress import bar

# Texts that are encoded together.
_BATCH = 64

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """The part of `model.TextEncoder` that is used here."""

    @property
    def width(self) -> int: ...
    def encode(self, texts: list[str], batch_size: int = 64) -> Tensor: ...
    def fingerprint(self) -> str: ...


def default_folder() -> Path:
    """Where features are kept when nobody says where: XDG_CACHE_HOME or ~/.cache, below `mghft`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mghft"


def text_features(
    encoder: Encoder, texts: Sequence[Sequence[str]], *, pooling: str, folder: Path, progress: bool = False
) -> tuple[Tensor, Path]:
    """Encoder output of every view of every sticker.

    Args:
        encoder: frozen.
        texts: per sticker one text per view; "" gives zeros.
        pooling: how the encoder makes one vector of a text; part of the key.
        folder: where the features are kept.
        progress: shown on stderr while texts are encoded.

    Returns:
        [n, V, width] float32 in the order of `texts`, and the file they lie in.
    """
    key = _key(encoder, texts, pooling)
    path = folder / f"text-{key[:24]}.safetensors"
    kept = _load(path, key)
    if kept is not None:
        return kept, path
    features = features_of(encoder, texts, progress=progress)
    _save(path, key, features)
    return features, path


def features_of(encoder: Encoder, texts: Sequence[Sequence[str]], *, progress: bool = False) -> Tensor:
    """[n, V, width] float32, computed now; "" gives zeros."""
    # Small captioning models say the same of many stickers: every distinct text is encoded once, in the order
    # of length, so that a batch is hardly padded.
    distinct = sorted({text for row in texts for text in row if text.strip()}, key=lambda t: (len(t), t))
    parts = [torch.zeros(0, encoder.width)]
    with bar("text", "encoding texts", progress) as advance:
        for start in range(0, len(distinct), _BATCH):
            parts.append(encoder.encode(distinct[start : start + _BATCH], _BATCH))
            advance(min(start + _BATCH, len(distinct)), len(distinct))
    vectors = torch.cat(parts)
    place = {text: number for number, text in enumerate(distinct)}
    nothing = torch.zeros(encoder.width)
    rows = [
        torch.stack([vectors[place[text]] if text in place else nothing for text in row]) for row in texts
    ]
    return torch.stack(rows).float().contiguous()


def text_statistics(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean of every view and one standard deviation over all, missing views left out.

    Args:
        features: [n, V, width].
        mask: [n, V] bool, False where a view is missing; None: all there.

    Returns:
        [V, width] and []; a view that is missing everywhere has the mean 0.
    """
    there = torch.ones(features.shape[:2]) if mask is None else mask.to(features.dtype)
    weight = there.unsqueeze(-1)
    mean = (features * weight).sum(0) / weight.sum(0).clamp(min=1)
    square = ((features - mean) * weight).square().sum() / (weight.sum() * features.shape[-1]).clamp(min=1)
    return mean, square.sqrt().clamp(min=1e-6)


def _key(encoder: Encoder, texts: Sequence[Sequence[str]], pooling: str) -> str:
    facts = [encoder.fingerprint(), pooling, [list(row) for row in texts]]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()


def _save(path: Path, key: str, features: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file({"features": features}, part, metadata={"key": key, "sha256": _digest(features)})
    part.replace(path)


def _load(path: Path, key: str) -> Tensor | None:
    """The kept features, or None when there are none or they are not what was written."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            features: Tensor = file.get_tensor("features")
    except (SafetensorError, OSError) as error:
        logger.warning("the text features %s cannot be read (%s) and are computed again", path, error)
        return None
    if metadata.get("key") != key or metadata.get("sha256") != _digest(features):
        logger.warning("the text features %s are not those that were written and are computed again", path)
        return None
    return features
