"""PVT alone (Wang et al., ICCV 2021): the class token of its last stage, normalised and classified."""

from __future__ import annotations

from torch import Tensor, nn

from mghft.model.peers.base import Peer, PeerOutput, draw_pyramid_weights
from mghft.model.peers.config import PeerConfig
from mghft.model.pvt import BLOCK_NORM_EPS, PyramidVisionTransformer


class PVTClassifier(Peer):
    """PVT v1 with its classifier; ImageNet files of PVT fit all of it but the head."""

    networks = ("pvt",)

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        self.backbone = PyramidVisionTransformer(config)
        self.token_norm = nn.LayerNorm(config.embed_dims[3], eps=BLOCK_NORM_EPS)
        self.head = nn.Linear(config.embed_dims[3], config.num_classes)
        draw_pyramid_weights(self)

    def forward(
        self, image: Tensor, text_tokens: Tensor | None = None, labels: Tensor | None = None
    ) -> PeerOutput:
        """Classify stickers.

        Args:
            image: [B, 3, H, W], normalised; sides are multiples of `config.size_multiple` pixels.
            text_tokens: None; PVT reads no text.
            labels: [B] class indices; without them no loss is computed.

        Raises:
            ValueError: a side does not fit the configuration, or there is text.
        """
        self._check_inputs(image, text_tokens)
        token = self.backbone(image)[-1].class_token
        visual = self.token_norm(token).unsqueeze(1)
        return self._output(self.head(visual[:, 0]), labels, [], visual)
