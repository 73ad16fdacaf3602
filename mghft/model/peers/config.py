"""Shape and switches of the networks that MGHFT is compared with, in one frozen, validated model."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import field_validator, model_validator

from mghft.model.config import Flags, Positive, Probability, PyramidConfig

Network = Literal["pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"]
TopicContext = Literal["self", "batch", "topic"]
NETWORKS: tuple[Network, ...] = get_args(Network)
TITLES: dict[Network, str] = {
    "pvt": "PVT",
    "pvt-bert": "PVT + BERT",
    "lora-v": "LORA-V",
    "lora": "LORA",
    "tgca-pvt": "TGCA-PVT",
}
PEER_PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "official": {},
    "tiny": {
        "image_size": 64,
        "embed_dims": (8, 16, 40, 64),
        "depths": (2, 2, 2, 2),
        "alpha": 1,
        "hidden_dim": 48,
        "fusion_mlp_dim": 96,
        "text_dim": 32,
    },
}
_NO_STAGES: Flags = (False, False, False, False)
# A network multiplies the attention maps of at least two blocks where it selects patches.
_FEWEST_BLOCKS = 2


class PeerConfig(PyramidConfig):
    """The shape of a peer. The defaults are PVT-small at 448 px, as published.

    Args:
        network: which peer; see `mghft.model.peers`.
        local_stages: as `PyramidConfig` says; none for "pvt" and "pvt-bert". The last flag is always false:
            the released networks do not run with it.
        text_length: tokens of the sticker's own text, special ones and padding included.
        topic_context: of "tgca-pvt", who shares a sticker's topic in evaluation: "self", the sticker alone,
            so that its logits do not hang on the batch; "batch", the stickers of its batch, as released;
            "topic" is the same for batches that hold every sticker of their topics. Training always takes the
            batch, as released.
    """

    network: Network
    text_length: Positive = 30
    topic_context: TopicContext = "self"
    label_smoothing: Probability = 0.2

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return a named configuration with some fields replaced; `network` has to be among them.

        Raises:
            ValueError: no preset has that name, or a field (pydantic's ValidationError) is unknown or wrong.
        """
        if name not in PEER_PRESETS:
            raise ValueError(f"unknown model preset {name!r}: choose one of {', '.join(PEER_PRESETS)}")
        return cls(**{**PEER_PRESETS[name], **overrides})

    @property
    def title(self) -> str:
        """Name of the network as papers write it."""
        return TITLES[self.network]

    @property
    def use_text(self) -> bool:
        """Whether the network reads the text on the sticker."""
        return self.network in ("pvt-bert", "lora", "tgca-pvt")

    @property
    def reads_topic(self) -> bool:
        """Whether the network reads the sticker's topic."""
        return self.network == "tgca-pvt"

    @property
    def selecting_stages(self) -> Flags:
        """Stages in which local re-attention selects patches."""
        return _NO_STAGES if self.network in ("pvt", "pvt-bert") else self.class_token_stages

    @property
    def alignment_stages(self) -> Flags:
        """Stages with a term in an alignment loss, which no peer has."""
        return _NO_STAGES

    @property
    def num_tokens(self) -> int:
        """Tokens of the fusion layer: visual ones, then those of the text (1,026 by default with text)."""
        return self.num_visual_tokens + self.text_length * self.use_text

    @model_validator(mode="before")
    @classmethod
    def _leave_out_local_stages(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("network") in ("pvt", "pvt-bert"):
            return {"local_stages": _NO_STAGES, **fields}
        return fields

    @field_validator("local_stages")
    @classmethod
    def _no_local_last_stage(cls, flags: Flags) -> Flags:
        if flags[3]:
            raise ValueError(
                "local_stages (locals) ends with 1, with which the released networks do not run: "
                "end it with 0, the last stage's tokens are always there"
            )
        return flags

    @model_validator(mode="after")
    def _check_peer(self) -> Self:
        if self.network in ("pvt", "pvt-bert") and any(self.local_stages):
            raise ValueError(
                f"local_stages is {self.local_flags}, but {self.title} has no local tokens: leave it out"
            )
        for stage, selects in enumerate(self.selecting_stages):
            if selects and self.depths[stage] < _FEWEST_BLOCKS:
                raise ValueError(
                    f"depths has {self.depths[stage]} block in stage {stage + 1}, where local re-attention "
                    f"needs {_FEWEST_BLOCKS}: make it deeper or take the stage out of local_stages"
                )
        if self.topic_context != "self" and not self.reads_topic:
            raise ValueError(
                f"topic_context is {self.topic_context}, but {self.title} reads no topic: leave it out"
            )
        return self
