"""Dimensions and switches of the networks that MGHFT is compared with, in one frozen, validated model."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from mghft.model.config import Flags, MGHFTConfig, PerStage, Positive, Probability

Network = Literal["pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"]
TopicContext = Literal["self", "batch", "topic"]
NETWORKS: tuple[Network, ...] = get_args(Network)
WITH_TEXT: tuple[Network, ...] = ("pvt-bert", "lora", "tgca-pvt")
WITH_LOCAL_TOKENS: tuple[Network, ...] = ("lora-v", "lora", "tgca-pvt")
# Keys that a stage needs, its class token included, for the released code to find its reduction ratio.
_MIN_KEYS = 3


class PeerConfig(BaseModel):
    """The shape of a peer. The defaults are the published ones: PVT-small at 448 px.

    Args:
        network: pvt, the class token of the last stage alone; pvt-bert, that token and the text through LORA's
            fusion layer; lora-v and lora (SER30K, ACM MM 2022), with local tokens, without and with text;
            tgca-pvt (ACM MM 2024), lora with frequencies and topics.
        local_stages: as of `MGHFTConfig`; the last one is off in all released code. Left out, none for pvt and
            pvt-bert and the first three for the others.
        text_dim: width of the text encoder's hidden states.
        text_length: tokens of the text, [CLS] and [SEP] included; shorter texts are padded.
        topic_context: of tgca-pvt, whose context a sticker's tokens are mixed with: its own (self), that of
            the stickers of its topic in the batch (batch, as released: the logits depend on who shares the
            batch), or the same with batches that hold whole topics (topic).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Network
    image_size: Positive = 448
    embed_dims: PerStage = (64, 128, 320, 512)
    depths: PerStage = (3, 4, 6, 3)
    num_heads: PerStage = (1, 2, 5, 8)
    mlp_ratios: PerStage = (8, 8, 4, 4)
    sr_ratios: PerStage = (8, 4, 2, 1)
    local_stages: Flags = (True, True, True, False)
    alpha: Positive = 8
    hidden_dim: Positive = 768
    fusion_heads: Positive = 12
    fusion_mlp_dim: Positive = 3072
    fusion_dropout: Probability = 0.1
    text_dim: Positive = 768
    text_length: Positive = 30
    num_classes: Positive = 7
    drop_path: Probability = 0.1
    label_smoothing: Probability = 0.2
    topic_context: TopicContext = "self"

    @property
    def uses_text(self) -> bool:
        """Return whether the network reads the words on the sticker."""
        return self.network in WITH_TEXT

    @property
    def uses_local_tokens(self) -> bool:
        """Return whether local re-attention selects patches."""
        return self.network in WITH_LOCAL_TOKENS

    @property
    def uses_topics(self) -> bool:
        """Return whether the logits depend on the topics of the batch."""
        return self.network == "tgca-pvt" and self.topic_context != "self"

    @property
    def num_tokens(self) -> int:
        """Return how many tokens enter the fusion layer (1,026 for lora as published)."""
        return self.backbone().num_visual_tokens + self.text_length * self.uses_text

    def backbone(self) -> MGHFTConfig:
        """Return the same backbone, local tokens and fusion layer in MGHFT's words, without text."""
        shared = MGHFTConfig.model_fields.keys() & PeerConfig.model_fields.keys() - {"text_dim"}
        fields = {name: getattr(self, name) for name in shared}
        return MGHFTConfig(**fields, use_text=False, local_reattention=self.uses_local_tokens)

    def check_image_size(self, height: int, width: int) -> None:
        """Check that an image of so many pixels fits the network.

        Raises:
            ValueError: a side does not divide evenly, or a stage has too few patches for its local tokens.
        """
        backbone = self.backbone()
        backbone.check_image_size(height, width)
        for stage, (ratio, count) in enumerate(
            zip(self.sr_ratios, backbone.local_token_counts, strict=True), start=1
        ):
            keys = (height // (2 ** (stage + 1) * ratio)) * (width // (2 ** (stage + 1) * ratio)) + 1
            if count and keys < _MIN_KEYS:
                raise ValueError(
                    f"an image of {height} x {width} leaves stage {stage} with {keys} keys where local "
                    f"re-attention needs {_MIN_KEYS}: enlarge image_size"
                )

    @model_validator(mode="before")
    @classmethod
    def _local_stages_of(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "local_stages" not in fields:
            local = fields.get("network") in WITH_LOCAL_TOKENS
            return {**fields, "local_stages": (local, local, local, False)}
        return fields

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.local_stages[3]:
            raise ValueError(
                "local_stages has the last stage on, with which the released code does not run: "
                "it always gives local tokens, leave its flag off"
            )
        if any(self.local_stages) and not self.uses_local_tokens:
            raise ValueError(
                f"local_stages is {tuple(map(int, self.local_stages))}, but {self.network} has no local tokens: "
                "leave it out"
            )
        for stage, (count, depth) in enumerate(
            zip(self.backbone().local_token_counts, self.depths, strict=True), start=1
        ):
            if count and depth < 2:
                raise ValueError(
                    f"depths has {depth} for stage {stage}, whose local re-attention needs 2 blocks or more"
                )
        self.check_image_size(self.image_size, self.image_size)
        return self
