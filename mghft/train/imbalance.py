"""Options for classes of unequal size, all off by default; the arithmetic is in `losses` and `sampler`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Imbalance(BaseModel):
    """Corrections for unequal classes; counts are those of the training split.

    Weights, balanced sampling and the adjusted loss are three ways to move the same boundary: two of them at
    once would move it twice, so only one is taken. Focal loss weighs stickers, not classes, and goes with
    weights and with balanced sampling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["cross_entropy", "focal", "logit_adjusted"] = Field(
        default="cross_entropy",
        description="classification loss: focal (Lin et al. 2017) or logit_adjusted (Menon et al. 2021)",
    )
    class_weights: Literal["none", "balanced", "effective"] = Field(
        default="none",
        description="weights in the loss: n / (classes * count) (scikit-learn), or effective number "
        "(Cui et al. 2019)",
    )
    effective_beta: float = Field(
        default=0.999, ge=0, lt=1, description="beta of effective: 0 weighs nothing, towards 1 is balanced"
    )
    focal_gamma: float = Field(
        default=2.0, ge=0, description="gamma of focal: how much less a sure sticker counts"
    )
    logit_tau: float = Field(
        default=1.0, gt=0, description="tau of logit_adjusted: 1 aims at the mean recall of the classes"
    )
    sampling: Literal["natural", "balanced"] = Field(
        default="natural", description="balanced: every class is drawn equally often; small ones repeat"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Imbalance:
        corrections = {
            f"class_weights {self.class_weights}": self.class_weights != "none",
            "sampling balanced": self.sampling == "balanced",
            "loss logit_adjusted": self.loss == "logit_adjusted",
        }
        used = [name for name, on in corrections.items() if on]
        if len(used) > 1:
            raise ValueError(f"{' and '.join(used)} correct for the same thing twice: choose one of them")
        return self
