"""LORA (Liu et al., ACM MM 2022): global and re-attended local tokens of PVT and the text on the sticker in
one transformer layer. Without text it is LORA-V; without local tokens, PVT + BERT.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mghft.model.fusion import TextGuidedFusion
from mghft.model.peers.base import INITIAL_DEVIATION, Peer, PeerOutput, draw_pyramid_weights
from mghft.model.peers.config import Network, PeerConfig
from mghft.model.pvt import BLOCK_NORM_EPS, PyramidVisionTransformer, StageOutput
from mghft.model.reattention import reattention_indices

# Of biases beside Xavier-uniform weights.
BIAS_DEVIATION = 1e-6


class StageTokens(NamedTuple):
    """Tokens of all stages, first stage first.

    Args:
        class_tokens: stage -> [B, C].
        global_tokens: [B, D] each.
        local_tokens: [B, n, D] each.
        indices: [B, heads, alpha·sr²] selected patches each.
    """

    class_tokens: dict[int, Tensor]
    global_tokens: list[Tensor]
    local_tokens: list[Tensor]
    indices: list[Tensor]


def _projection(width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width_out))


class LORA(Peer):
    """Local re-attention network; the picture alone, or with the tokens of the text on the sticker."""

    networks: ClassVar[tuple[Network, ...]] = ("lora", "lora-v", "pvt-bert")

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        widths, width = config.embed_dims, config.embed_dims[3]
        early = [stage for stage in range(3) if config.class_token_stages[stage]]
        self.backbone = PyramidVisionTransformer(config)
        self.local_projections = nn.ModuleDict({str(s): _projection(widths[s], width) for s in early})
        self.global_projections = nn.ModuleDict({str(s): _projection(widths[s], width) for s in early})
        self.token_norm = nn.LayerNorm(width, eps=BLOCK_NORM_EPS)
        self.visual_projection = nn.Linear(width, config.hidden_dim)
        if config.use_text:
            self.text_projection = nn.Linear(config.text_dim, config.hidden_dim)
        self.token_positions = nn.Parameter(torch.zeros(1, config.num_tokens, config.hidden_dim))
        self.fusion = self._fusion()
        self.head = nn.Linear(config.hidden_dim, config.num_classes)
        self.reset_parameters()

    def _fusion(self) -> TextGuidedFusion:
        """Return the fusion block."""
        return TextGuidedFusion(self.config)

    def reset_parameters(self) -> None:
        """Draw new weights as the released code does.

        PVT's way inside the visual part; Xavier uniform with biases of 1e-6 for the projections into the
        fusion, its MLP and the head; the fusion's attention as torch's modules begin.
        """
        for part in (self.backbone, self.local_projections, self.global_projections):
            draw_pyramid_weights(part)
        nn.init.trunc_normal_(self.token_positions, std=INITIAL_DEVIATION)
        mlp = self.fusion.mlp
        linears = [self.visual_projection, mlp.fc1, mlp.fc2, self.head]
        if self.config.use_text:
            linears.append(self.text_projection)
        for linear in linears:
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=BIAS_DEVIATION)

    def forward(
        self, image: Tensor, text_tokens: Tensor | None = None, labels: Tensor | None = None
    ) -> PeerOutput:
        """Classify stickers.

        Args:
            image: [B, 3, H, W], normalised; sides are multiples of `config.size_multiple` pixels.
            text_tokens: [B, text_length, text_dim] encoded text on the sticker, padding included, which is
                attended to like any token; None for LORA-V.
            labels: [B] class indices; without them no loss is computed.

        Raises:
            ValueError: a side or the tokens do not fit the configuration.
        """
        self._check_inputs(image, text_tokens)
        tokens = self.stage_tokens(self.backbone(image))
        visual = self.visual_tokens(torch.stack(tokens.global_tokens[::-1], dim=1), tokens.local_tokens)
        fused = self.fusion(self.fusion_input(visual, text_tokens), None)
        return self._output(self.head(fused), labels, tokens.indices, visual)

    def stage_tokens(self, stages: list[StageOutput]) -> StageTokens:
        """Return the tokens that the stages contribute."""
        found = StageTokens({}, [], [], [])
        for stage, (patches, class_token, queries_keys) in enumerate(stages):
            if class_token is None:
                continue
            found.class_tokens[stage] = class_token
            found.global_tokens.append(self.project_global(class_token, stage))
            if not self.config.local_token_counts[stage]:
                continue
            count = self.config.alpha * self.config.sr_ratios[stage] ** 2
            indices = reattention_indices(queries_keys, count=count, last_stage=stage == 3)
            chosen = indices.flatten(1).unsqueeze(-1).expand(-1, -1, patches.shape[-1])
            parts = self.enhance(patches.gather(1, chosen))
            found.indices.append(indices)
            found.local_tokens.append(self.local_projections[str(stage)](parts) if stage < 3 else parts)
        return found

    def project_global(self, token: Tensor, stage: int) -> Tensor:
        """Bring a class token [B, C] of a stage to the width of the last one: [B, D]."""
        projected: Tensor = self.global_projections[str(stage)](token) if stage < 3 else token
        return projected

    def enhance(self, parts: Tensor) -> Tensor:
        """Return the selected patches [B, n, C] of a stage as they are; TGCA-PVT adds to them."""
        return parts

    def visual_tokens(self, global_tokens: Tensor, local_tokens: list[Tensor]) -> Tensor:
        """Join global tokens [B, g, D], last stage first, and local ones, reversed as one; normalise."""
        tokens = [global_tokens]
        if local_tokens:
            tokens.append(torch.cat(local_tokens, dim=1).flip(1))
        normalised: Tensor = self.token_norm(torch.cat(tokens, dim=1))
        return normalised

    def fusion_input(self, visual: Tensor, text_tokens: Tensor | None) -> Tensor:
        """Return the tokens of the fusion layer, [B, num_tokens, H]."""
        tokens = [self.visual_projection(visual)]
        if text_tokens is not None:
            tokens.append(self.text_projection(text_tokens.to(visual.dtype)))
        return torch.cat(tokens, dim=1) + self.token_positions
