"""Text features: the frozen encoder's vector of every view, computed once and kept by fingerprint."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mghft.model import TextEncoder
from mghft.model.joint import distinct_texts
from mghft.pipeline.files import write_bytes
from mghft.pipeline.progress import bar
from mghft.pipeline.waiting import now_doing
from mghft.train.options import Pooling

# Texts that are encoded together.
_BATCH = 64

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """The methods of `model.TextEncoder` that are used here."""

    @property
    def width(self) -> int:
        """Return the size of a feature."""
        ...

    def encode(self, texts: list[str], batch_size: int = 64) -> Tensor:
        """Return one feature per text, texts × width, float32."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of all that decides the features."""
        ...


def load_encoder(name_or_folder: str | Path, pooling: Pooling, device: torch.device) -> TextEncoder:
    """Load a frozen text encoder onto the device that computes the features."""
    # Loading takes a second; its bar would stand among the epochs.
    from transformers.utils.logging import disable_progress_bar

    now_doing(f"loading the text encoder {name_or_folder}")
    disable_progress_bar()  # type: ignore[no-untyped-call]
    return TextEncoder.from_pretrained(name_or_folder, pooling=pooling).to(device)


class FeatureCache:
    """Features of one frozen encoder, kept in a folder."""

    def __init__(self, encoder: Encoder, *, pooling: str, folder: Path, progress: bool = False) -> None:
        """
        Args:
            pooling: how the encoder makes one vector of a text; part of the key.
            folder: where the features are kept.
            progress: shown on stderr while texts are encoded.
        """
        self._encoder, self._pooling, self._folder, self._progress = encoder, pooling, folder, progress

    def features(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Return the features of every view of every sticker, [n, V, width] float32 in the order of `texts`.

        Args:
            texts: per sticker one text per view; "" gives zeros.
        """
        facts = [self._fingerprint, self._pooling, [list(row) for row in texts]]
        return kept(self._folder, facts, lambda: features_of(self._encoder, texts, progress=self._progress))

    @functools.cached_property
    def _fingerprint(self) -> str:
        # A hash over all weights, the same for every split.
        return self._encoder.fingerprint()


def kept(folder: Path, facts: Sequence[Any], compute: Callable[[], Tensor]) -> Tensor:
    """Return features out of a folder, or compute them and keep them there.

    Args:
        facts: all that decides them, ready for JSON.
    """
    key = hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()
    path = folder / f"text-{key[:24]}.safetensors"
    features = _load(path, key)
    if features is None:
        features = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"key": key, "sha256": _digest(features)}
        write_bytes(path, save({"features": features}, metadata=metadata))
    return features


def features_of(encoder: Encoder, texts: Sequence[Sequence[str]], *, progress: bool = False) -> Tensor:
    """Compute the features [n, V, width], float32; "" gives zeros."""
    # By length, so that a batch is hardly padded.
    distinct, rows = distinct_texts(texts, order=lambda text: (len(text), text))
    vectors = []
    with bar("text", "encoding texts", progress) as advance:
        for start in range(0, len(distinct), _BATCH):
            vectors.append(encoder.encode(distinct[start : start + _BATCH], _BATCH))
            advance(min(start + _BATCH, len(distinct)), len(distinct))
    nothing = torch.zeros(1, encoder.width)
    return torch.cat([*vectors, nothing])[rows].float()


def text_statistics(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean of every view and one standard deviation over all, missing views left out.

    Args:
        features: [n, V, width].
        mask: [n, V] bool, False where a view is missing; None: none is missing.

    Returns:
        [V, width] and []; a view that is missing everywhere has the mean 0.
    """
    present = torch.ones(features.shape[:2]) if mask is None else mask.to(features.dtype)
    weight = present.unsqueeze(-1)
    mean = (features * weight).sum(0) / weight.sum(0).clamp(min=1)
    square = ((features - mean) * weight).square().sum() / (weight.sum() * features.shape[-1]).clamp(min=1)
    return mean, square.sqrt().clamp(min=1e-6)


def _digest(features: Tensor) -> str:
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()


def _load(path: Path, key: str) -> Tensor | None:
    """Return the kept features, None where there are none or they are not what was written."""
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
