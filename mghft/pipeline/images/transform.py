"""The treatment of an image between the file and the engine, as a configuration has it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

SHEET = re.compile(r"sheet:([2-9]|1[0-6])")
# Above this Pillow itself refuses, whatever `max_pixels` says.
_PILLOW_PIXELS = 2 * 89_478_485


class ImageTransform(BaseModel):
    """Treatment of an image between the file and the engine; part of a run's manifest.

    Always, and so no field: EXIF rotation is applied, and an embedded color profile is converted to sRGB.

    Attributes:
        background: RGB on which transparency is laid.
        frame: of an animation, "first", "middle", a number from 0 (the last frame where there are fewer), or
            "sheet:K" with K from 2 to 16: K evenly spaced frames in reading order in one near-square grid,
            each reduced so that the grid keeps to `max_side`; both limits hold for the whole grid. A still
            image stays itself, and an animation of fewer frames shows each once.
        max_pixels: a larger image is refused before it is decoded.
        max_side: a longer side is reduced to this, keeping the aspect; None keeps every size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    background: tuple[int, int, int] = (255, 255, 255)
    frame: str | int = "first"
    max_pixels: int = Field(default=50_000_000, ge=1, le=_PILLOW_PIXELS)
    max_side: int | None = Field(default=1024, ge=16)

    @field_validator("background")
    @classmethod
    def _background(cls, color: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(0 <= value <= 255 for value in color):
            raise ValueError(f"must be three numbers from 0 to 255, not {color}")
        return color

    @field_validator("frame", mode="before")
    @classmethod
    def _frame(cls, frame: Any) -> str | int:
        """Give a number one spelling, so that "3" and 3 are the same run."""
        if isinstance(frame, str) and re.fullmatch(r"[0-9]{1,9}", frame):
            return int(frame)
        if frame in ("first", "middle") or (isinstance(frame, str) and SHEET.fullmatch(frame)):
            return str(frame)
        if isinstance(frame, int) and not isinstance(frame, bool) and 0 <= frame < 10**9:
            return frame
        raise ValueError(f"must be first, middle, a number from 0, or sheet:2 to sheet:16, not {frame!r}")
