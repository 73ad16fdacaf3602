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
Flags = tuple[bool, bool, bool, bool]
DEFAULT_STAGE_VIEWS = ("intention", "style", "content", "details")


class PyramidConfig(BaseModel):
    """Shape of a network on PVT whose stages may carry class tokens: what MGHFT and its peers share.

    Args:
        image_size: side in pixels the model is meant for; forward takes any multiple of `size_multiple`.
        local_stages: stages that carry a class token and contribute projected local tokens; the last stage
            always has a class token.
        alpha: patches selected per head by local re-attention, times the stage's squared reduction ratio.
        text_dim: width of the text encoder's output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    num_classes: Positive = 7
    drop_path: Probability = 0.1

    @property
    def size_multiple(self) -> int:
        """Image sides are multiples of this so that every stage's patches reduce evenly (32 by default)."""
        strides = (4, 8, 16, 32)
        return math.lcm(*(stride * ratio for stride, ratio in zip(strides, self.sr_ratios, strict=True)))

    @property
    def class_token_stages(self) -> Flags:
        """Stages that carry a class token, and so a global token."""
        first, second, third, _ = self.local_stages
        return (first, second, third, True)

    @property
    def selecting_stages(self) -> Flags:
        """Stages in which local re-attention selects patches."""
        return self.class_token_stages

    @property
    def local_token_counts(self) -> tuple[int, int, int, int]:
        """Local tokens each stage contributes: alpha · sr² · heads, 0 for a stage that has none."""
        first, second, third, fourth = (
            self.alpha * ratio**2 * heads if selects else 0
            for ratio, heads, selects in zip(
                self.sr_ratios, self.num_heads, self.selecting_stages, strict=True
            )
        )
        return (first, second, third, fourth)

    @property
    def title(self) -> str:
        """Name of the network as papers write it."""
        return "MGHFT"

    @property
    def num_visual_tokens(self) -> int:
        """Global plus local tokens that enter the fusion (996 by default)."""
        return sum(self.class_token_stages) + sum(self.local_token_counts)

    @property
    def local_flags(self) -> str:
        """`local_stages` as people write it, such as "1110"."""
        return "".join(str(int(flag)) for flag in self.local_stages)

    def check_image_size(self, height: int, width: int) -> None:
        """Check that an image of so many pixels fits the model.

        Raises:
            ValueError: a side does not divide evenly, or a stage has fewer patches than it selects.
        """
        for side in (height, width):
            if side <= 0 or side % self.size_multiple:
                raise ValueError(
                    f"image side {side} does not fit the model: use a multiple of {self.size_multiple} pixels"
                )
        for stage, (ratio, count) in enumerate(zip(self.sr_ratios, self.local_token_counts, strict=True)):
            stride = 4 * 2**stage
            patches = (height // stride) * (width // stride)
            if count and self.alpha * ratio**2 > patches:
                raise ValueError(
                    f"alpha {self.alpha} is too large for an image of {height} x {width}: stage {stage + 1} "
                    f"would select {self.alpha * ratio**2} of {patches} patches per head; lower alpha or "
                    "enlarge it"
                )

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        self.check_image_size(self.image_size, self.image_size)
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
        return self


class MGHFTConfig(PyramidConfig):
    """The model's shape. The defaults are PVT-small at 448 px, corrected where the release errs.

    Args:
        image_size: side in pixels the model is meant for; forward takes any multiple of `size_multiple`.
        local_stages: stages that carry a class token and contribute projected local tokens; the last stage
            always has a class token and local tokens, its flag only adds a projection to them. A stage
            without class token aligns its view with the global token of the last stage before it that has
            one; before the first class token there is nothing to align and the stage has no term.
        alpha: patches selected per head by local re-attention, times the stage's squared reduction ratio.
        text_dim: width of the text encoder's output.
        views: names of the views in the order of the features, one or more; leave one out to ablate it.
        stage_views: which of `views` feeds which stage, first stage first; None feeds a stage no text: its
            visual tokens stay, its text tokens and its alignment term go. Left out, the default without what
            `views` lacks.
        view_dropout: chance that training puts a view's learned stand-in in its place, drawn for every view
            of every sample from torch's generator; such a view takes no part in the alignment loss.
        last_stage_text_token: "previous" repeats the last local stage's text token, as released; where there
            is none the last stage gives its own.

    Ablations, by the paper's names; what is switched off leaves no parameters behind:
        alignment: hierarchical alignment, the loss between global tokens and views.
        local_fusion: local soft fusion of a stage's view into its local tokens. Off, these stay purely visual
            and the stages give no text tokens: of the text, the fusion attention reads the views alone.
        global_fusion: global soft fusion of the views into the global tokens.
        text_guided_attention: text-guided fusion attention. Off, the block is plain attention over the visual
            tokens.
        local_reattention: LRA. Off, no patch is selected, so there are no local tokens and nothing for local
            fusion to act on.
        fusion_stages: stages that take part at all. One that is off is a bare stage of PVT: no class token,
            no local tokens, no text, no alignment; the last one keeps its class token, which is classified.
        use_text: False builds the same network without any text input: no text tokens, no alignment loss, and
            the switches of text have nothing to switch.
    """

    views: tuple[str, ...] = ("content", "style", "intention", "details")
    stage_views: tuple[str | None, str | None, str | None, str | None] = DEFAULT_STAGE_VIEWS
    view_dropout: Probability = 0.0
    use_text: bool = True
    alignment: bool = True
    local_fusion: bool = True
    global_fusion: bool = True
    text_guided_attention: bool = True
    local_reattention: bool = True
    fusion_stages: Flags = (True, True, True, True)
    label_smoothing: Probability = 0.2
    alignment_weight: float = Field(default=0.5, ge=0.0)
    alignment_temperature: float = Field(default=0.07, gt=0.0)
    alignment_divergence_weight: float = Field(default=30.0, ge=0.0)
    last_stage_text_token: Literal["own", "previous"] = "own"

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return a named configuration with some fields replaced.

        "default" is the corrected model; "official" behaves like the released code (feed it features pooled
        with "last4_mean" and the whole description as every view to reproduce all of it); "tiny" is small.

        Raises:
            ValueError: no preset has that name, or a field (pydantic's ValidationError) is unknown or wrong.
        """
        if name not in PRESETS:
            raise ValueError(f"unknown model preset {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(**{**PRESETS[name], **overrides})

    @property
    def class_token_stages(self) -> Flags:
        """Stages that carry a class token, and so global and local tokens."""
        first, second, third, _ = (
            local and fused for local, fused in zip(self.local_stages, self.fusion_stages, strict=True)
        )
        return (first, second, third, True)

    @property
    def selecting_stages(self) -> Flags:
        """Stages in which local re-attention selects patches."""
        first, second, third, fourth = (
            self.local_reattention and has_token and fused
            for has_token, fused in zip(self.class_token_stages, self.fusion_stages, strict=True)
        )
        return (first, second, third, fourth)

    @property
    def text_stages(self) -> Flags:
        """Stages that a view feeds."""
        first, second, third, fourth = (
            self.use_text and fused and view is not None
            for fused, view in zip(self.fusion_stages, self.stage_views, strict=True)
        )
        return (first, second, third, fourth)

    @property
    def local_text_stages(self) -> Flags:
        """Stages whose local tokens are fused with a view."""
        first, second, third, fourth = (
            self.local_fusion and fed and count > 0
            for fed, count in zip(self.text_stages, self.local_token_counts, strict=True)
        )
        return (first, second, third, fourth)

    @property
    def alignment_stages(self) -> Flags:
        """Stages with a term in the alignment loss: those with a view, from the first class token on."""
        first, second, third, fourth = (
            self.alignment and self.text_stages[stage] and any(self.class_token_stages[: stage + 1])
            for stage in range(4)
        )
        return (first, second, third, fourth)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_absent_views(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "views" in fields and "stage_views" not in fields:
            known = fields["views"] if isinstance(fields["views"], list | tuple) else ()
            return {
                **fields,
                "stage_views": tuple(view if view in known else None for view in DEFAULT_STAGE_VIEWS),
            }
        return fields

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.views)) != len(self.views):
            raise ValueError(f"a view is duplicated in views ({', '.join(self.views)}): give every view once")
        unknown = [view for view in self.stage_views if view is not None and view not in self.views]
        if unknown:
            raise ValueError(
                f"stage_views names {unknown[0]!r}, which is not in views: {', '.join(self.views)}"
            )
        if self.use_text and not any(self.text_stages):
            raise ValueError(
                f"no stage reads one of the views {', '.join(self.views)}: name them in stage_views, "
                "switch the stage on in fusion_stages, or set use_text to False"
            )
        fused = self.global_fusion or self.text_guided_attention or any(self.local_text_stages)
        if self.use_text and not fused and not any(self.alignment_stages):
            raise ValueError(
                "alignment, local_fusion, global_fusion and text_guided_attention leave the text without any "
                "effect: switch one of them on or set use_text to False"
            )
        return self
