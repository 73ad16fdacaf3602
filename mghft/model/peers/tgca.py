"""TGCA-PVT (ACM MM 2024): LORA with a frequency module, topic-guided context and topic-guided attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mghft.model.fusion import TextGuidedFusion, global_soft_fusion
from mghft.model.peers.base import INITIAL_DEVIATION, PeerOutput, draw_pyramid_weights
from mghft.model.peers.config import Network, PeerConfig
from mghft.model.peers.config import TopicContext as ContextName
from mghft.model.peers.frequency import FrequencyModule
from mghft.model.peers.lora import LORA
from mghft.model.peers.topic import TopicContext, TopicGuidedFusion, topic_weights


class TGCAPVT(LORA):
    """LORA whose tokens also carry means over the stickers of one topic, as far as they share the batch.

    In training these are the stickers of the batch, as released. In evaluation `config.topic_context` says
    who they are; with "self" a sticker's logits do not hang on its batch.
    """

    networks: ClassVar[tuple[Network, ...]] = ("tgca-pvt",)

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        channels = (3, *config.embed_dims[:3])
        self.frequency = nn.ModuleList(FrequencyModule(width) for width in channels)
        self.topic_contexts = nn.ModuleDict(
            {str(s): TopicContext(config.embed_dims[s]) for s in range(4) if config.class_token_stages[s]}
        )
        draw_pyramid_weights(self.frequency)
        for parameter in (p for name, p in self.frequency.named_parameters() if "gate" not in name):
            nn.init.trunc_normal_(parameter, std=INITIAL_DEVIATION)

    def _fusion(self) -> TextGuidedFusion:
        return TopicGuidedFusion(self.config)

    def forward(
        self,
        image: Tensor,
        text_tokens: Tensor | None = None,
        labels: Tensor | None = None,
        topics: Tensor | None = None,
    ) -> PeerOutput:
        """Classify stickers.

        Args:
            image, text_tokens, labels: as for `LORA.forward`.
            topics: [B] numbers, or [B, L] token ids, of the topics; equal rows are one topic. Read in
                training and with the topic contexts "batch" and "topic".

        Raises:
            ValueError: a side or the tokens do not fit the configuration, or topics are read and missing.
        """
        self._check_inputs(image, text_tokens)
        weights = self._topic_weights(topics, image.shape[0])
        before = cast(list[Callable[[Tensor], Tensor]], list(self.frequency))
        tokens = self.stage_tokens(self.backbone(image, before))
        contexts = [
            self.project_global(self.topic_contexts[str(stage)](token, weights), stage)
            for stage, token in tokens.class_tokens.items()
        ]
        global_tokens = global_soft_fusion(
            torch.stack(tokens.global_tokens[::-1], dim=1), torch.stack(contexts[::-1], dim=1)
        )
        visual = self.visual_tokens(global_tokens, tokens.local_tokens)
        fused = self.fusion(self.fusion_input(visual, text_tokens), weights)
        return self._output(self.head(fused), labels, tokens.indices, visual)

    def set_topic_context(self, context: ContextName) -> None:
        """Set who shares a sticker's topic in evaluation (`config.topic_context`, saved with the model)."""
        self.config = self.config.model_copy(update={"topic_context": context})

    def enhance(self, parts: Tensor) -> Tensor:
        """Add to the selected patches [B, n, C] their maximum, channel by channel.

        Published as an attention to n copies of the maximum; all keys being equal, it is this sum.
        """
        return parts + parts.amax(dim=1, keepdim=True)

    def _topic_weights(self, topics: Tensor | None, batch: int) -> Tensor | None:
        if not self.training and self.config.topic_context == "self":
            return None
        if topics is None or len(topics) != batch:
            given = "missing" if topics is None else f"{len(topics)} for {batch} images"
            context = "training" if self.training else f"topic_context {self.config.topic_context}"
            raise ValueError(
                f"topics are {given}, and {context} reads them: pass one number per sticker, equal for equal "
                "topics"
            )
        return topic_weights(topics)
