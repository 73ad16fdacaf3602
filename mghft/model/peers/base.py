"""What every peer of MGHFT has: its configuration, its classification loss, its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mghft.model.hub import HubModel
from mghft.model.model_card import CardText
from mghft.model.peers.config import Network, PeerConfig

_LOADING = """    from mghft.model.peers import load_peer
    model = load_peer("path/to/this/folder")  # or its id on the hub"""
_PAPERS: dict[Network, str] = {
    "pvt": '"Pyramid Vision Transformer" (ICCV 2021)',
    "pvt-bert": '"Pyramid Vision Transformer" (ICCV 2021) and BERT (NAACL 2019)',
    "lora-v": "the paper of LORA and SER30K (ACM MM 2022)",
    "lora": "the paper of LORA and SER30K (ACM MM 2022)",
    "tgca-pvt": "the paper of TGCA-PVT (ACM MM 2024)",
}
ClassificationLoss = Callable[[Tensor, Tensor], Tensor]
INITIAL_DEVIATION = 0.02


class PeerOutput(NamedTuple):
    """Result of one forward pass.

    Args:
        logits: [B, classes].
        loss, classification_loss: scalars, the same; None without labels.
        lra_indices: per stage with local tokens, [B, heads, alpha·sr²] selected patches, best first.
        visual_tokens: [B, n, D] normalised global and local tokens.
        alignment_loss, stage_alignments: None; of MGHFT alone.
    """

    logits: Tensor
    loss: Tensor | None
    classification_loss: Tensor | None
    lra_indices: tuple[Tensor, ...]
    visual_tokens: Tensor
    alignment_loss: Tensor | None = None
    stage_alignments: Tensor | None = None


class Peer(HubModel):
    """A network that MGHFT is compared with, built from a `PeerConfig` alone."""

    config_class = PeerConfig
    model_type = "mghft-peer"
    # The values of `config.network` that a class is for.
    networks: ClassVar[tuple[Network, ...]] = ()

    def __init__(self, config: PeerConfig) -> None:
        if config.network not in self.networks:
            raise ValueError(
                f"{type(self).__name__} is no {config.title}: build it with mghft.model.peers.build_network"
            )
        super().__init__(config)
        self.config: PeerConfig = config
        # A training may put another loss of logits [B, classes] and labels [B] in place of the released one.
        self.classification_loss: ClassificationLoss | None = None

    def _output(
        self, logits: Tensor, labels: Tensor | None, indices: list[Tensor], visual: Tensor
    ) -> PeerOutput:
        loss = None
        if labels is not None:
            loss = (self.classification_loss or self.smoothed_cross_entropy)(logits, labels)
        return PeerOutput(logits, loss, loss, tuple(indices), visual)

    def smoothed_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the released loss of logits [B, classes], at least in float32: a scalar."""
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(wide, labels, label_smoothing=self.config.label_smoothing)

    def card_text(self) -> CardText:
        """Return what the model card says of the network."""
        config = self.config
        read = ["picture"]
        if config.use_text:
            read.append("the text on it")
        if config.reads_topic:
            read.append("its topic")
        sentence = (
            f"{config.title}, a network that MGHFT is compared with: it tells the emotion of a sticker from\n"
            f"its {' and '.join(read)}."
        )
        inputs = ""
        if config.use_text:
            inputs = f" Text features of width {config.text_dim} for each of {config.text_length} tokens."
        if config.reads_topic:
            inputs += f" Topic context: {config.topic_context}."
        citation = f"Please cite {_PAPERS[config.network]}, and the corpus."
        return CardText(config.title, sentence, inputs, _LOADING, citation)

    def _check_inputs(self, image: Tensor, text_tokens: Tensor | None) -> None:
        config = self.config
        config.check_image_size(image.shape[2], image.shape[3])
        if not config.use_text:
            if text_tokens is not None:
                raise ValueError(f"text_tokens were passed to {config.title}, which reads no text: pass None")
            return
        shape = (image.shape[0], config.text_length, config.text_dim)
        if text_tokens is None or text_tokens.shape != shape:
            given = "missing" if text_tokens is None else f"of shape {tuple(text_tokens.shape)}"
            raise ValueError(
                f"text_tokens are {given} where {config.title} reads {shape} (batch, text_length, text_dim): "
                "encode the text on every sticker, an empty one too, with mghft.model.peers.TokenEncoder"
            )


def draw_pyramid_weights(module: nn.Module) -> None:
    """Draw new weights as PVT does: truncated normal (0.02) for linear weights, tokens, positions; biases 0.

    All else is as torch's modules begin.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=INITIAL_DEVIATION)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name, parameter in module.named_parameters():
        if name.endswith(("class_token", "position_embedding", "token_positions")):
            nn.init.trunc_normal_(parameter, std=INITIAL_DEVIATION)
