"""Augmentation of training images: the arguments of timm's transforms."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Augmentation(BaseModel):
    """Arguments of timm's training and evaluation transforms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: tuple[float, float] = Field(default=(0.08, 1.0), description="area of the random crop")
    ratio: tuple[float, float] = Field(default=(0.75, 4 / 3), description="aspect ratio of the random crop")
    hflip: float = Field(default=0.5, ge=0, le=1, description="probability of a mirror image")
    vflip: float = Field(default=0.0, ge=0, le=1, description="probability of an image upside down")
    color_jitter: float = Field(
        default=0.1,
        ge=0,
        description="brightness, contrast, saturation; off under auto_augment",
    )
    force_color_jitter: bool = Field(default=False, description="colour jitter under auto_augment as well")
    grayscale_prob: float = Field(default=0.0, ge=0, le=1, description="probability of a grey image")
    gaussian_blur_prob: float = Field(default=0.0, ge=0, le=1, description="probability of a blurred image")
    auto_augment: str | None = Field(default="rand-m9-mstd0.5-inc1", description="timm's policy, or null")
    interpolation: Literal["bicubic", "bilinear", "random"] = Field(
        default="bicubic", description="of resizing"
    )
    re_prob: float = Field(default=0.0, ge=0, le=1, description="probability of random erasing")
    crop_pct: float = Field(
        default=224 / 256, gt=0, le=1, description="evaluation: share of the short side in the crop"
    )
    off: bool = Field(default=False, description="no augmentation: training sees what evaluation sees")
