"""PVT, PVT with text, LORA-V, LORA and TGCA-PVT on the project's own backbone and fusion layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mghft.model.fusion import TextGuidedFusion, global_soft_fusion, two_layer_projection
from mghft.model.peers.config import PeerConfig
from mghft.model.peers.frequency import FrequencyModule
from mghft.model.peers.topics import group_mean
from mghft.model.pvt import BLOCK_NORM_EPS, Mlp, PyramidVisionTransformer, StageOutput
from mghft.model.reattention import reattention_indices


class PeerOutput(NamedTuple):
    """Result of one forward pass.

    Args:
        logits: [B, classes].
        loss: scalar cross entropy with label smoothing, None without labels.
        lra_indices: per stage with local tokens, [B, heads, alpha·sr²] selected patches, best first.
        visual_tokens: [B, n, D] normalised global and local tokens, global ones first, last stage first.
        fused: [B, H or D] what is classified.
    """

    logits: Tensor
    loss: Tensor | None
    lra_indices: tuple[Tensor, ...]
    visual_tokens: Tensor
    fused: Tensor


class TopicAttention(nn.Module):
    """Topic-guided attention for token 0 (TGCA-PVT, ACM MM 2024; TG).

    Tokens mixed with their topic's ask all tokens, and token 0 asks what they have gathered. Published with a
    convolution of width 1 over the tokens, which is a linear layer.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.context = nn.Linear(width, width)

    def forward(self, tokens: Tensor, groups: Tensor | None) -> Tensor:
        """Return what is added to token 0, [B, H].

        Args:
            tokens: [B, n, H].
            groups: as for `group_mean`.
        """
        mixed = tokens + group_mean(tokens + self.context(tokens), groups)
        asking = self._heads(self.query(mixed))
        gathered = F.scaled_dot_product_attention(
            asking, self._heads(self.key(tokens)), self._heads(self.value(tokens))
        )
        first = self._heads(self.query(tokens[:, :1]))
        out: Tensor = self.output(F.scaled_dot_product_attention(first, asking, gathered).flatten(1))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TopicFusion(nn.Module):
    """The fusion layer of TGCA-PVT, evaluated for token 0 alone: the only one the classifier reads."""

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.attention = TopicAttention(config.hidden_dim, config.fusion_heads)
        self.mlp_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(config.hidden_dim, config.fusion_mlp_dim, config.fusion_dropout)

    def forward(self, tokens: Tensor, groups: Tensor | None) -> Tensor:
        """Return token 0 of tokens [B, n, H] after the layer, [B, H]; groups as for `group_mean`."""
        x: Tensor = tokens[:, 0] + self.attention(self.attention_norm(tokens), groups)
        added: Tensor = self.mlp(self.mlp_norm(x))
        return x + added


class PeerNetwork(nn.Module):
    """A network that MGHFT is compared with, as `config.network` says.

    Sources: PVT (Wang et al., ICCV 2021), LORA (Liu et al., ACM MM 2022), TGCA-PVT (ACM MM 2024).
    """

    def __init__(self, config: PeerConfig) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone()
        self.local_counts = backbone.local_token_counts
        widths, width, hidden = config.embed_dims, config.embed_dims[3], config.hidden_dim
        local = [stage for stage in range(3) if backbone.class_token_stages[stage]]
        self.backbone = PyramidVisionTransformer(backbone)
        self.token_norm = nn.LayerNorm(width, eps=BLOCK_NORM_EPS)
        for name in ("local_projections", "global_projections"):
            projections = {str(s): two_layer_projection(widths[s], widths[s], width) for s in local}
            self.add_module(name, nn.ModuleDict(projections))
        if config.network == "pvt":
            self.head = nn.Linear(width, config.num_classes)
            self.reset_parameters()
            return
        self.visual_projection = nn.Linear(width, hidden)
        self.token_positions = nn.Parameter(torch.zeros(1, config.num_tokens, hidden))
        if config.uses_text:
            self.text_projection = nn.Linear(config.text_dim, hidden)
        self.fusion: nn.Module
        if config.network == "tgca-pvt":
            channels = (3, *widths[:3])
            self.frequencies = nn.ModuleList(FrequencyModule(count) for count in channels)
            self.topic_contexts = nn.ModuleDict(
                {str(s): nn.Linear(widths[s], widths[s]) for s in (*local, 3)}
            )
            self.fusion = TopicFusion(config)
        else:
            self.fusion = TextGuidedFusion(backbone)
        self.head = nn.Linear(hidden, config.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights as the released LORA does (its code and recipe).

        Backbone and projections to D: truncated normal (.02) and zeros; visual and text projection, head and
        the fusion's MLP: Xavier uniform and normal (1e-6); topic contexts and the fusion's attention: as
        torch's modules begin; tokens and positions: truncated normal (.02).
        """
        pvt = (
            self.backbone,
            self.get_submodule("local_projections"),
            self.get_submodule("global_projections"),
        )
        for module in (inner for part in pvt for inner in part.modules()):
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():
            if name.endswith(("class_token", "position_embedding", "token_positions")):
                nn.init.trunc_normal_(parameter, std=0.02)
        if self.config.network == "pvt":
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
            return
        ends = [self.visual_projection, self.head, self.fusion.mlp.fc1, self.fusion.mlp.fc2]
        for layer in [*ends, *([self.text_projection] if self.config.uses_text else [])]:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(
        self,
        image: Tensor,
        text_tokens: Tensor | None = None,
        topics: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> PeerOutput:
        """Classify stickers.

        Args:
            image: [B, 3, H, W], normalised.
            text_tokens: [B, text_length, text_dim] the text encoder's states of the words on the sticker,
                padding included (it is a key like any other, as released); None for networks without text.
            topics: [B] equal numbers for stickers of one topic; only with a topic_context other than self.
            labels: [B] class indices; without them there is no loss.

        Raises:
            ValueError: a side of the image, the text or the topics do not fit the configuration.
        """
        config = self.config
        config.check_image_size(image.shape[2], image.shape[3])
        self._check_inputs(len(image), text_tokens, topics)
        global_tokens: list[Tensor] = []
        contexts: list[Tensor] = []
        local_tokens: list[Tensor] = []
        indices: list[Tensor] = []
        for stage, module in enumerate(self.backbone.stages):
            if config.network == "tgca-pvt":
                image = self.frequencies[stage](image)
            output, image = module(image)
            if output.class_token is None:
                continue
            global_tokens.append(self._project("global_projections", output.class_token, stage))
            if self.local_counts[stage]:
                parts, chosen = self._parts(output, stage)
                indices.append(chosen)
                local_tokens.append(self._project("local_projections", parts, stage))
            if config.network == "tgca-pvt":
                contexts.append(self._context(output.class_token, topics, stage))
        visual = self._visual_tokens(global_tokens, local_tokens, contexts)
        fused = visual[:, 0] if config.network == "pvt" else self._fuse(visual, text_tokens, topics)
        logits: Tensor = self.head(fused)
        loss = None
        if labels is not None:
            wide = logits if logits.dtype == torch.float64 else logits.float()
            loss = F.cross_entropy(wide, labels, label_smoothing=config.label_smoothing)
        return PeerOutput(logits, loss, tuple(indices), visual, fused)

    def _check_inputs(self, batch: int, text_tokens: Tensor | None, topics: Tensor | None) -> None:
        config = self.config
        wanted = (batch, config.text_length, config.text_dim) if config.uses_text else None
        given = None if text_tokens is None else tuple(text_tokens.shape)
        if given != wanted:
            raise ValueError(
                f"text_tokens has shape {given} where {config.network} reads {wanted} (batch, tokens, text_dim)"
            )
        if config.uses_topics != (topics is not None):
            need = "needs topics, one number for every sticker" if config.uses_topics else "takes no topics"
            raise ValueError(f"{config.network} with topic_context {config.topic_context} {need}")
        if topics is not None and topics.shape != (batch,):
            raise ValueError(f"topics has shape {tuple(topics.shape)} where ({batch},) is wanted")

    def _parts(self, output: StageOutput, stage: int) -> tuple[Tensor, Tensor]:
        """Return the selected patches [B, heads·alpha·sr², C] of a stage, and which they are."""
        count = self.config.alpha * self.config.sr_ratios[stage] ** 2
        chosen = reattention_indices(output.queries_keys, count=count, last_stage=stage == 3)
        flat = chosen.flatten(1).unsqueeze(-1).expand(-1, -1, output.patches.shape[-1])
        parts = output.patches.gather(1, flat)
        if self.config.network == "tgca-pvt":
            # Published as attention onto n copies of the maximum (LERA): with equal keys it is their sum.
            parts = parts + parts.amax(1, keepdim=True)
        return parts, chosen

    def _project(self, name: str, tokens: Tensor, stage: int) -> Tensor:
        """Project tokens [..., C] to [..., D]; the last stage's have that width and stay."""
        if stage == 3:
            return tokens
        projections = self.get_submodule(name)
        assert isinstance(projections, nn.ModuleDict)
        projected: Tensor = projections[str(stage)](tokens)
        return projected

    def _context(self, class_token: Tensor, topics: Tensor | None, stage: int) -> Tensor:
        """Return a stage's class token [B, C] mixed with its topic's, projected like itself: [B, D]."""
        mean = group_mean(class_token + self.topic_contexts[str(stage)](class_token), topics)
        return self._project("global_projections", class_token + mean, stage)

    def _visual_tokens(
        self, global_tokens: list[Tensor], local_tokens: list[Tensor], contexts: list[Tensor]
    ) -> Tensor:
        visual = torch.stack(global_tokens[::-1], 1)
        if contexts:
            visual = global_soft_fusion(visual, torch.stack(contexts[::-1], 1))
        if local_tokens:
            visual = torch.cat([visual, torch.cat(local_tokens, 1).flip(1)], 1)
        normalised: Tensor = self.token_norm(visual)
        return normalised

    def _fuse(self, visual: Tensor, text_tokens: Tensor | None, topics: Tensor | None) -> Tensor:
        tokens = self.visual_projection(visual)
        if text_tokens is not None:
            tokens = torch.cat([tokens, self.text_projection(text_tokens.to(visual.dtype))], 1)
        guide = topics if self.config.network == "tgca-pvt" else None
        fused: Tensor = self.fusion(tokens + self.token_positions, guide)
        return fused
