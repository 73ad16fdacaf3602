"""Everything that can be chosen for a zero-shot run; the groups are those of a describe run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.describe.config import CorpusSource, RunOptions
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.settings import build, read_settings

# Whether the words on the sticker are quoted in the prompt.
TextGiven = Literal["both", "with", "without"]


class ZeroShotConfig(BaseModel):
    """One zero-shot run.

    Attributes:
        selection: without a choice of a split, of ids or by `where`, all splits but train.
        text: ask with the words on the sticker, without them, or both.
        name: of the systems in tables and predictions; None: the model's.
        transductive: calibrate on the judged stickers themselves too, under a name that says so.
        max_tokens: limit of a free reply and of a choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: CorpusSource
    selection: Selection = Selection()
    engine: EngineOptions = EngineOptions()
    run: RunOptions
    image: ImageTransform = ImageTransform()
    text: TextGiven = "both"
    name: str | None = Field(default=None, min_length=1, max_length=100)
    transductive: bool = False
    max_tokens: int = Field(default=64, ge=1)


def build_zero_shot_config(file: Path | None, *layers: Mapping[str, Any]) -> ZeroShotConfig:
    """Build a configuration from a YAML file and layers of fields, the later over the earlier.

    Args:
        file: YAML mapping with fields of `ZeroShotConfig`, None for none.
        layers: by field name; a dot reaches inside ("engine.model").

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a field is unknown or its value wrong; the message names it.
    """
    fields = {} if file is None else read_settings(file)
    config = build(ZeroShotConfig, fields, *layers, what="the zero-shot configuration")
    for name in ("reuse", "embed_images", "strict"):
        if getattr(config.run, name):
            raise ValueError(f"a zero-shot run knows no run.{name}: take it out")
    return config
