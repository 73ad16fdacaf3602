"""The text encoder trained along with MGHFT (`tune_text_encoder`): no cached features, its own learning rate.

Model and encoder are one module, so that gradients, running mean and processes need no second way; on disk
the folder is MGHFT's own with the encoder below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mghft.model import MGHFT, TextEncoder
from mghft.model.mghft import MGHFTOutput

ENCODER_FOLDER = "text_encoder"


class TunedMGHFT(nn.Module):
    """MGHFT that reads texts instead of features, through an encoder whose weights are trained."""

    def __init__(self, mghft: MGHFT, encoder: TextEncoder) -> None:
        super().__init__()
        self.mghft = mghft
        # In float32, whatever the file is in: small steps vanish in half precision.
        self.language = encoder.model.float().requires_grad_(True)
        self.encoder = encoder

    def forward(
        self,
        image: Tensor,
        texts: Sequence[Sequence[str]],
        text_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> MGHFTOutput:
        """As MGHFT's, with one text per view of every sticker."""
        output: MGHFTOutput = self.mghft(
            image, text_features=self.text_features(texts, image.device), text_mask=text_mask, labels=labels
        )
        return output

    def text_features(self, texts: Sequence[Sequence[str]], device: torch.device) -> Tensor:
        """[B, V, width] with gradients; zeros for ""; a text that comes twice is encoded once."""
        distinct = sorted({text for row in texts for text in row if text.strip()})
        nothing = torch.zeros(1, self.encoder.width, device=device)
        vectors = torch.cat([self.encoder.vectors(distinct).to(nothing), nothing]) if distinct else nothing
        place = {text: number for number, text in enumerate(distinct)}
        rows = [[place.get(text, len(distinct)) for text in row] for row in texts]
        return vectors[torch.tensor(rows, device=device)]

    def save_pretrained(self, folder: Path) -> None:
        """MGHFT's files, and the encoder with its tokenizer in a folder below."""
        self.mghft.save_pretrained(folder)
        self.language.save_pretrained(folder / ENCODER_FOLDER)
        self.encoder.tokenizer.save_pretrained(folder / ENCODER_FOLDER)

    def load_weights(self, folder: Path) -> None:
        """What `save_pretrained` wrote."""
        self.mghft.load_state_dict(load_file(folder / "model.safetensors"))
        saved = type(self.language).from_pretrained(folder / ENCODER_FOLDER, use_safetensors=True)
        self.language.load_state_dict(saved.state_dict())


# What a run trains.
Trained = MGHFT | TunedMGHFT


def network(model: Trained) -> MGHFT:
    """The network without its encoder."""
    return model.mghft if isinstance(model, TunedMGHFT) else model


def load_weights(model: Trained, folder: Path) -> None:
    """Puts back what `model.save_pretrained(folder)` wrote."""
    if isinstance(model, TunedMGHFT):
        model.load_weights(folder)
    else:
        model.load_state_dict(load_file(folder / "model.safetensors"))
