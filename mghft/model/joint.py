"""MGHFT and its text encoder trained together: no cached features, an own learning rate for the encoder.

Both are one module, so that gradients, EMA and distributed training need no second way; on disk the folder is
MGHFT's own with the encoder below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mghft.model import MGHFT, MGHFTConfig, TextEncoder
from mghft.model.checkpoint_files import WEIGHTS_NAME
from mghft.model.hub import saved_type
from mghft.model.mghft import MGHFTOutput
from mghft.model.peers.base import Peer
from mghft.model.peers.build import build_network, load_peer
from mghft.model.peers.config import PeerConfig

ENCODER_FOLDER = "text_encoder"


class TunedMGHFT(nn.Module):
    """MGHFT that reads texts instead of features, through an encoder whose weights are trained.

    Args:
        frozen: the encoder's weights stay, but training draws its dropout, for every text of every sticker on
            its own: the released training, whose encoder is frozen and in training mode.
    """

    def __init__(self, mghft: MGHFT, encoder: TextEncoder, *, frozen: bool = False) -> None:
        super().__init__()
        self.mghft, self.frozen = mghft, frozen
        # In float32, whatever the file is in: small steps vanish in half precision.
        self.language = encoder.model.float().requires_grad_(not frozen)
        self.encoder = encoder

    def forward(
        self,
        image: Tensor,
        texts: Sequence[Sequence[str]],
        text_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> MGHFTOutput:
        """Classify stickers as MGHFT does, from one text per view of every sticker."""
        output: MGHFTOutput = self.mghft(
            image, text_features=self.text_features(texts, image.device), text_mask=text_mask, labels=labels
        )
        return output

    def text_features(self, texts: Sequence[Sequence[str]], device: torch.device) -> Tensor:
        """Return features [B, V, width], with gradients unless the encoder is frozen; zeros for ""."""
        distinct, rows = _every_text(texts) if self.frozen and self.training else distinct_texts(texts)
        vectors = torch.zeros(1, self.encoder.width, device=device)
        if distinct:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                encoded = self.encoder.vectors(distinct).to(vectors)
            vectors = torch.cat([encoded, vectors])
        return vectors[rows.to(device)]

    def save_pretrained(self, folder: Path) -> None:
        """Write MGHFT's files, and the encoder with its tokenizer in a folder below."""
        self.mghft.save_pretrained(folder)
        self.language.save_pretrained(folder / ENCODER_FOLDER)
        self.encoder.tokenizer.save_pretrained(folder / ENCODER_FOLDER)

    def load_weights(self, folder: Path) -> None:
        """Load what `save_pretrained` wrote."""
        load_weights(self.mghft, folder)
        saved = type(self.language).from_pretrained(folder / ENCODER_FOLDER, use_safetensors=True)
        self.language.load_state_dict(saved.state_dict())


# The module that a run trains.
Network = MGHFT | Peer
Trained = Network | TunedMGHFT


def new_network(config: MGHFTConfig | PeerConfig) -> Network:
    """Build the network that a configuration is of, with new weights."""
    return MGHFT(config) if isinstance(config, MGHFTConfig) else build_network(config)


def load_network(source: str | Path) -> Network:
    """Load MGHFT or one of its peers, whichever `save_pretrained` wrote; errors as of `from_pretrained`."""
    if saved_type(source) == Peer.model_type:
        return load_peer(source)
    return MGHFT.from_pretrained(source)


def network(model: Trained) -> Network:
    """Return the network without its encoder."""
    return model.mghft if isinstance(model, TunedMGHFT) else model


def load_weights(model: Trained, folder: Path) -> None:
    """Load what `model.save_pretrained(folder)` wrote."""
    if isinstance(model, TunedMGHFT):
        model.load_weights(folder)
    else:
        model.load_state_dict(load_file(folder / WEIGHTS_NAME))


def _every_text(texts: Sequence[Sequence[str]]) -> tuple[list[str], Tensor]:
    """Return all texts that are not blank, however often, and the place of each as `distinct_texts` does."""
    found = [text for row in texts for text in row if text.strip()]
    places = iter(range(len(found)))
    rows = [[next(places) if text.strip() else len(found) for text in row] for row in texts]
    return found, torch.tensor(rows)


def distinct_texts(
    texts: Sequence[Sequence[str]], order: Callable[[str], Any] | None = None
) -> tuple[list[str], Tensor]:
    """Find the texts to encode; captioning models describe many stickers alike, and each is encoded once.

    Args:
        texts: per sticker one text per view.
        order: key by which the distinct texts are sorted; None sorts them alphabetically.

    Returns:
        The distinct texts, and [n, V] the index of every text among them; of a blank one their number.
    """
    distinct = sorted({text for row in texts for text in row if text.strip()}, key=order)
    index = {text: number for number, text in enumerate(distinct)}
    rows = [[index.get(text, len(distinct)) for text in row] for row in texts]
    return distinct, torch.tensor(rows)
