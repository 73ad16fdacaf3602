"""Token features of the text on a sticker, as LORA and TGCA-PVT read them from a frozen BERT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from mghft.model.text_encoder import TextEncoder

TEXT_LENGTH = 30


class TokenEncoder:
    """A frozen text encoder whose token states are kept, padding included."""

    def __init__(self, encoder: TextEncoder, length: int = TEXT_LENGTH) -> None:
        """
        Args:
            length: tokens of every text, special ones and padding included; longer texts are cut.

        Raises:
            ValueError: the encoder has fewer positions.
        """
        if length > encoder.max_tokens:
            raise ValueError(
                f"text_length is {length}, but the text encoder takes {encoder.max_tokens} tokens: lower it"
            )
        self._encoder, self.length = encoder, length

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, length: int = TEXT_LENGTH) -> Self:
        """Load an encoder; arguments and errors as of `TextEncoder.from_pretrained`."""
        return cls(TextEncoder.from_pretrained(name_or_folder), length)

    @property
    def width(self) -> int:
        """Width of a token's features."""
        return self._encoder.width

    def fingerprint(self) -> str:
        """Return a hash of all that decides the features."""
        return f"{self._encoder.fingerprint()}-tokens-{self.length}"

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Encode texts, lower-cased and stripped as released; "" is a text like any other.

        Returns:
            [n, length, width] float32 on the CPU: the mean of the last four hidden layers of every token,
            those of the padding too, which the encoder itself does not attend to.
        """
        features = torch.empty(len(texts), self.length, self.width)
        for start in range(0, len(texts), batch_size):
            tokens = self._encoder.tokenizer(
                [text.lower().strip() for text in texts[start : start + batch_size]],
                padding="max_length",
                truncation=True,
                max_length=self.length,
                return_tensors="pt",
            ).to(self._encoder.model.device)
            states = self._encoder.model(**tokens, output_hidden_states=True).hidden_states
            features[start : start + batch_size] = last_four_mean(states).float().cpu()
        return features


def last_four_mean(hidden_states: Sequence[Tensor]) -> Tensor:
    """Return the mean of an encoder's last four layers, token by token: [n, T, width]."""
    return torch.stack(list(hidden_states[-4:])).mean(dim=0)
