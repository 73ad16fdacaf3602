"""Every dimension and switch of MGHFT in one frozen, validated model, and the named presets."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "official": {"last_stage_text_token": "previous"},
    "tiny": {
        "image_size": 64,
        "embed_dims": (8, 16, 40, 64),
        "depths": (1, 2, 2, 1),
        "alpha": 1,
        "hidden_dim": 48,
        "fusion_mlp_dim": 96,
        "text_dim": 32,
    },
}

Positive = Annotated[int, Field(gt=0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
PerStage = tuple[Positive, Positive, Positive, Positive]


class MGHFTConfig(BaseModel):
    """The model's shape. The defaults are PVT-small at 448 px, corrected where the release errs.

    Args:
        image_size: side in pixels the model is meant for; forward takes any multiple of `size_multiple`.
        local_stages: stages that carry a class token and contribute projected local tokens; the last stage
            always has a class token and local tokens, its flag only adds a projection to them.
        alpha: patches kept per head by local re-attention, times the stage's squared reduction ratio.
        text_dim: width of the text encoder's output.
        stage_views: which of `views` feeds which stage, first stage first.
        use_text: False builds the same network without any text input: no text tokens, no alignment loss.
        last_stage_text_token: "previous" repeats the last local stage's text token, as released.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: Positive = 448
    embed_dims: PerStage = (64, 128, 320, 512)
    depths: PerStage = (3, 4, 6, 3)
    num_heads: PerStage = (1, 2, 5, 8)
    mlp_ratios: PerStage = (8, 8, 4, 4)
    sr_ratios: PerStage = (8, 4, 2, 1)
    local_stages: tuple[bool, bool, bool, bool] = (True, True, True, False)
    alpha: Positive = 8
    hidden_dim: Positive = 768
    fusion_heads: Positive = 12
    fusion_mlp_dim: Positive = 3072
    fusion_dropout: Probability = 0.1
    text_dim: Positive = 768
    num_classes: Positive = 7
    drop_path: Probability = 0.1
    views: tuple[str, ...] = ("content", "style", "intention", "details")
    stage_views: tuple[str, str, str, str] = ("intention", "style", "content", "details")
    use_text: bool = True
    label_smoothing: Probability = 0.2
    alignment_weight: float = Field(default=0.5, ge=0.0)
    alignment_temperature: float = Field(default=0.07, gt=0.0)
    alignment_divergence_weight: float = Field(default=30.0, ge=0.0)
    last_stage_text_token: Literal["own", "previous"] = "own"

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """A named configuration with some fields replaced.

        "default" is the corrected model; "official" behaves like the released code (feed it features pooled
        with "last4_mean" and the whole description as every view to reproduce all of it); "tiny" is small.
        """
        if name not in PRESETS:
            raise ValueError(f"unknown model preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @property
    def size_multiple(self) -> int:
        """Image sides are multiples of this so that every stage's patches reduce evenly (32 by default)."""
        strides = (4, 8, 16, 32)
        return math.lcm(*(stride * ratio for stride, ratio in zip(strides, self.sr_ratios, strict=True)))

    @property
    def class_token_stages(self) -> tuple[bool, bool, bool, bool]:
        """Stages that carry a class token, and so global and local tokens."""
        first, second, third, _ = self.local_stages
        return (first, second, third, True)

    @property
    def local_token_counts(self) -> tuple[int, int, int, int]:
        """Local tokens each stage contributes: alpha · sr² · heads, 0 for a stage without class token."""
        first, second, third, fourth = (
            self.alpha * ratio**2 * heads if has_token else 0
            for ratio, heads, has_token in zip(
                self.sr_ratios, self.num_heads, self.class_token_stages, strict=True
            )
        )
        return (first, second, third, fourth)

    @property
    def num_visual_tokens(self) -> int:
        """Global plus local tokens that enter the text-guided fusion (996 by default)."""
        return sum(self.class_token_stages) + sum(self.local_token_counts)

    def check_image_side(self, side: int) -> None:
        """Raises ValueError if a side doesn't divide evenly or has fewer patches than are to be chosen."""
        if side <= 0 or side % self.size_multiple:
            raise ValueError(
                f"image side {side} does not fit the model: use a multiple of {self.size_multiple} pixels"
            )
        for stage, (ratio, has_token) in enumerate(zip(self.sr_ratios, self.class_token_stages, strict=True)):
            patches = (side // (4 * 2**stage)) ** 2
            if has_token and self.alpha * ratio**2 > patches:
                raise ValueError(
                    f"alpha {self.alpha} is too large for an image side of {side}: stage {stage + 1} would "
                    f"choose {self.alpha * ratio**2} of {patches} patches per head; lower alpha or enlarge it"
                )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.check_image_side(self.image_size)
        for width, heads in zip(self.embed_dims, self.num_heads, strict=True):
            if width % heads:
                raise ValueError(
                    f"embed_dims has {width}, which num_heads {heads} does not divide: change one of them"
                )
        if self.hidden_dim % self.fusion_heads:
            raise ValueError(
                f"hidden_dim {self.hidden_dim} is not a multiple of fusion_heads {self.fusion_heads}: "
                "change one of them"
            )
        if self.sr_ratios[3] != 1:
            raise ValueError(
                f"sr_ratios ends with {self.sr_ratios[3]}: local re-attention needs 1 in the last stage"
            )
        if len(set(self.views)) != len(self.views):
            raise ValueError(f"views names a view twice: {', '.join(self.views)}; give every view once")
        unknown = [view for view in self.stage_views if view not in self.views]
        if unknown:
            raise ValueError(
                f"stage_views names {unknown[0]!r}, which is not in views: {', '.join(self.views)}"
            )
        if self.use_text and not self.local_stages[0]:
            raise ValueError(
                "local_stages starts with False, so the alignment loss has no global token in stage 1: "
                "set it to True or set use_text to False"
            )
        return self
