"""The whole model: backbone, local re-attention, the three fusions, the classifier and the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mghft.model.alignment import alignment_loss
from mghft.model.all_gather import gather_rows
from mghft.model.config import MGHFTConfig
from mghft.model.fusion import TextGuidedFusion, global_soft_fusion, local_soft_fusion
from mghft.model.hub import HubModel
from mghft.model.pvt import BLOCK_NORM_EPS, PyramidVisionTransformer
from mghft.model.reattention import reattention_indices
from mghft.model.state_dict_keys import rename_earlier

ClassificationLoss = Callable[[Tensor, Tensor], Tensor]


class MGHFTOutput(NamedTuple):
    """Result of one forward pass.

    Args:
        logits: [B, classes].
        loss, classification_loss, alignment_loss: scalars, None without labels (the last also without text or
            alignment).
        lra_indices: per stage with local tokens, [B, heads, alpha·sr²] selected patches, best first.
        visual_tokens: [B, n, D] normalised global and local tokens.
        text_tokens: [B, t, D] what guides the fusion attention, None where no text does.
        view_embeddings: [B, v, D] projected view of each of the v stages that one feeds (4 by default), None
            without text.
        stage_alignments: [4] what every stage adds to alignment_loss, 0 where it has no term; no gradient.
            None where alignment_loss is.
    """

    logits: Tensor
    loss: Tensor | None
    classification_loss: Tensor | None
    alignment_loss: Tensor | None
    lra_indices: tuple[Tensor, ...]
    visual_tokens: Tensor
    text_tokens: Tensor | None
    view_embeddings: Tensor | None
    stage_alignments: Tensor | None = None


class _Losses(NamedTuple):
    loss: Tensor | None
    classification: Tensor | None
    alignment: Tensor | None
    stage_alignments: Tensor | None


def _projection(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, width_out))


def _accept_earlier_names(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    rename_earlier(state, prefix)


class MGHFT(HubModel):
    """Multi-granularity hierarchical fusion transformer for stickers (ACM MM 2025, arXiv 2507.18929).

    Every stage of a PVT gives a global token and, selected by local re-attention, local tokens; the views of
    a description are fused into both and guide the attention block whose token 0 is classified.
    """

    def __init__(self, config: MGHFTConfig) -> None:
        super().__init__(config)
        # Alignment pairs across all processes of a training; the released code forms them inside one.
        self.gather_negatives = False
        # A training may put another loss of logits [B, classes] and labels [B] in place of the released one.
        self.classification_loss: ClassificationLoss | None = None
        self.register_load_state_dict_pre_hook(_accept_earlier_names)  # type: ignore[no-untyped-call]
        widths, width = config.embed_dims, config.embed_dims[3]
        local = [s for s in range(4) if config.local_stages[s] and config.local_token_counts[s]]
        early_tokens = [s for s in range(3) if config.class_token_stages[s]]
        local_text = [s for s in range(4) if config.local_text_stages[s]]
        self.backbone = PyramidVisionTransformer(config)
        self.local_projections = nn.ModuleDict(
            {str(stage): _projection(widths[stage], widths[stage], width) for stage in local}
        )
        self.global_projections = nn.ModuleDict(
            {str(stage): _projection(widths[stage], widths[stage], width) for stage in early_tokens}
        )
        self.token_norm = nn.LayerNorm(width, eps=BLOCK_NORM_EPS)
        self.visual_projection = nn.Linear(width, config.hidden_dim)
        self.token_positions = nn.Parameter(torch.zeros(1, config.num_visual_tokens, config.hidden_dim))
        if config.use_text:
            self.missing_view_embedding = nn.Parameter(torch.zeros(len(config.views), config.text_dim))
            self.register_buffer("text_mean", torch.zeros(len(config.views), config.text_dim))
            self.register_buffer("text_scale", torch.ones(()))
            self.view_projection = nn.Linear(config.text_dim, width)
            self.stage_text_projections = nn.ModuleDict(
                {str(stage): _projection(width, widths[stage], widths[stage]) for stage in local_text}
            )
            if config.text_guided_attention:
                self.text_projection = nn.Linear(width, config.hidden_dim)
        self.fusion = TextGuidedFusion(config)
        self.head = nn.Linear(config.hidden_dim, config.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: truncated normal (0.02) for linear weights, tokens and positions, biases 0.

        All else is as torch's modules begin.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        tokens = ("class_token", "position_embedding", "token_positions", "missing_view_embedding")
        for name, parameter in self.named_parameters():
            if name.endswith(tokens):
                nn.init.trunc_normal_(parameter, std=0.02)

    def set_text_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Centre and scale text features inside the model; saved with it, off (0 and 1) until it is called.

        An encoder's vectors share a large common part that tells nothing of a sticker. Taking it away changes
        nothing that the projection could not learn, but it is learned in a fraction of the steps. Not in the
        paper.

        Args:
            mean: [views, text_dim] mean feature of each view.
            scale: [] standard deviation of the centred features.
        """
        self.get_buffer("text_mean").copy_(mean)
        self.get_buffer("text_scale").copy_(scale)

    def stage_view_embeddings(
        self, text_features: Tensor | None, text_mask: Tensor | None, batch: int
    ) -> tuple[Tensor, Tensor | None]:
        """Project the view of every stage that one feeds, its stand-in where the view is missing.

        Args:
            text_features, text_mask: as for `forward`.
            batch: B.

        Returns:
            [B, v, D], and which of them are real, [B, v] bool (None: all).

        Raises:
            ValueError: features of another shape than the model reads, or a mask without features.
        """
        views = [
            self.config.views.index(view)
            for view, feeds in zip(self.config.stage_views, self.config.text_stages, strict=True)
            if feeds and view is not None
        ]
        shape = (batch, *self.missing_view_embedding.shape)
        if text_features is None:
            if text_mask is not None and bool(text_mask.any()):
                raise ValueError(
                    "text_mask marks views as present but text_features is None: pass the features"
                )
            text_features = self.missing_view_embedding.expand(shape)
            text_mask = torch.zeros(shape[:2], dtype=torch.bool, device=text_features.device)
        elif text_features.shape != shape:
            raise ValueError(
                f"text_features has shape {tuple(text_features.shape)} where the model reads {shape} "
                "(batch, views, text_dim): encode every view with the encoder the model was configured for"
            )
        if self.training and self.config.view_dropout > 0:
            kept = torch.rand(shape[:2], device=text_features.device) >= self.config.view_dropout
            text_mask = kept if text_mask is None else text_mask & kept
        present = text_mask
        if present is None:
            present = torch.ones(shape[:2], dtype=torch.bool, device=text_features.device)
        # Rows of missing views may hold anything, NaN included, so they are replaced, not multiplied by 0.
        # Done without a mask too: distributed training wants every parameter to take part in every step.
        text_features = text_features.to(self.missing_view_embedding.dtype)
        text_features = (text_features - self.get_buffer("text_mean")) / self.get_buffer("text_scale")
        text_features = torch.where(present.unsqueeze(-1), text_features, self.missing_view_embedding)
        embeddings = self.view_projection(text_features[:, views])
        return embeddings, None if text_mask is None else text_mask[:, views]

    def forward(
        self,
        image: Tensor,
        text_features: Tensor | None = None,
        text_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> MGHFTOutput:
        """Classify stickers.

        Args:
            image: [B, 3, H, W], normalised; sides are multiples of `config.size_multiple` pixels.
            text_features: [B, views, text_dim] encoder output per view, in the order of `config.views`; None
                means that every view is missing, and is the only choice when `config.use_text` is False.
            text_mask: [B, views] bool, False where a view is missing and its learned stand-in is to be used;
                a missing view takes no part in the alignment loss.
            labels: [B] class indices; without them no loss is computed.

        Raises:
            ValueError: a side or the features do not fit the configuration.
        """
        config = self.config
        config.check_image_size(image.shape[2], image.shape[3])
        views: Tensor | None = None
        present: Tensor | None = None
        if config.use_text:
            views, present = self.stage_view_embeddings(text_features, text_mask, image.shape[0])
        elif text_features is not None:
            raise ValueError("text_features were passed to a model built with use_text=False: pass None")

        global_tokens: list[Tensor] = []
        local_tokens: list[Tensor] = []
        stage_texts: list[Tensor] = []
        indices: list[Tensor] = []
        alignments: dict[int, Tensor] = {}
        for stage, (patches, class_token, queries_keys) in enumerate(self.backbone(image)):
            column = sum(config.text_stages[:stage])  # of this stage's view
            if class_token is not None:
                global_tokens.append(
                    self.global_projections[str(stage)](class_token) if stage < 3 else class_token
                )
            if config.local_token_counts[stage]:
                count = config.alpha * config.sr_ratios[stage] ** 2
                indices.append(reattention_indices(queries_keys, count=count, last_stage=stage == 3))
                flat = indices[-1].flatten(1).unsqueeze(-1).expand(-1, -1, patches.shape[-1])
                tokens = patches.gather(1, flat)
                text: Tensor | None = None
                if views is not None and config.local_text_stages[stage]:
                    text = self.stage_text_projections[str(stage)](views[:, column])
                    tokens = local_soft_fusion(tokens, text)
                local_tokens.append(self._local_projection(tokens, stage))
                if text is not None and config.text_guided_attention:
                    stage_texts.append(self._stage_text_token(text, stage_texts, stage))
            if views is not None and labels is not None and config.alignment_stages[stage]:
                alignments[stage] = self._stage_alignment(
                    global_tokens[-1], views[:, column], None if present is None else present[:, column]
                )

        visual, text_tokens = self._fusion_tokens(global_tokens, local_tokens, views, stage_texts)
        guide = None if text_tokens is None else self.text_projection(text_tokens)
        fused = self.fusion(self.visual_projection(visual) + self.token_positions, guide)
        logits = self.head(fused)
        losses = self._losses(logits, labels, alignments)
        return MGHFTOutput(
            logits,
            losses.loss,
            losses.classification,
            losses.alignment,
            tuple(indices),
            visual,
            text_tokens,
            views,
            losses.stage_alignments,
        )

    def smoothed_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the released classification loss of logits [B, classes], at least in float32: a scalar."""
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(wide, labels, label_smoothing=self.config.label_smoothing)

    def _losses(self, logits: Tensor, labels: Tensor | None, alignments: dict[int, Tensor]) -> _Losses:
        """Sum the alignment over the stages and add it, weighted, to the classification loss."""
        alignment = stage_alignments = None
        if alignments:
            stage_alignments = torch.zeros(4, device=logits.device)
            for stage, value in alignments.items():
                alignment = value if alignment is None else alignment + value
                stage_alignments[stage] = value.detach()
        if labels is None:
            return _Losses(None, None, alignment, stage_alignments)
        classification = (self.classification_loss or self.smoothed_cross_entropy)(logits, labels)
        loss = classification
        if alignment is not None:
            loss = loss + self.config.alignment_weight * alignment
        return _Losses(loss, classification, alignment, stage_alignments)

    def _fusion_tokens(
        self,
        global_tokens: list[Tensor],
        local_tokens: list[Tensor],
        views: Tensor | None,
        stage_texts: list[Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Return visual tokens [B, n, D] and text tokens [B, t, D] of the fusion block, last stage first."""
        visual = torch.stack(global_tokens[::-1], dim=1)
        text_tokens = None
        if views is not None:
            last_view_first = views.flip(1)
            if self.config.global_fusion:
                visual = global_soft_fusion(visual, last_view_first)
            if self.config.text_guided_attention:
                last_text_first = [text.unsqueeze(1) for text in stage_texts[::-1]]
                text_tokens = torch.cat([last_view_first, *last_text_first], dim=1)
        if local_tokens:
            visual = torch.cat([visual, torch.cat(local_tokens, dim=1).flip(1)], dim=1)
        return self.token_norm(visual), text_tokens

    def _local_projection(self, tokens: Tensor, stage: int) -> Tensor:
        # The last stage's tokens have the width of the fusion, so they may go without.
        projected: Tensor = (
            self.local_projections[str(stage)](tokens) if self.config.local_stages[stage] else tokens
        )
        return projected

    def _stage_text_token(self, text: Tensor, earlier: list[Tensor], stage: int) -> Tensor:
        if self.config.local_stages[stage] or self.config.last_stage_text_token == "own" or not earlier:
            return self._local_projection(text, stage)
        return earlier[-1]

    def _stage_alignment(self, image: Tensor, text: Tensor, present: Tensor | None) -> Tensor:
        if self.gather_negatives and self.training:
            image, text = gather_rows(image), gather_rows(text)
            present = None if present is None else gather_rows(present)
        if present is not None:
            image, text = image[present], text[present]
        return alignment_loss(
            image,
            text,
            temperature=self.config.alignment_temperature,
            divergence_weight=self.config.alignment_divergence_weight,
        )
