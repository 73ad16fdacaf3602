"""Everything that can be chosen for a describe run: a frozen model of several, one for each concern.

A YAML file and options fill it. Fields of the corpus, selection, engine and run may also stand at the top, as
in files written before there were several models: `limit: 3` is `selection: {limit: 3}`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.engines.options import EngineOptions
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.runs.rows import FAILED_LIMIT
from mghft.pipeline.runs.worker import Worker
from mghft.pipeline.settings import build, merge, read_settings


def _spare_cores() -> int:
    """Return the cores of this process but the engine's own, 1 to 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1))


def _parse_worker(value: Any) -> Any:
    return Worker.parse(value) if isinstance(value, str) else value


class CorpusSource(BaseModel):
    """The corpus: name or path of its data card, and its root."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str
    data: Path


class RunOptions(BaseModel):
    """The run folder and the work on it; `attempts` and `embed_images` alone decide what is in it.

    Attributes:
        out: run folder.
        worker: "i/n", this process' share of the stickers (i from 1 to n), for several on one folder.
        attempts: how often a sticker is asked at most before its row says failed.
        shard_rows: rows of a shard.
        window: stickers in memory at once: being decoded, asked about, or waiting for either.
        decode_workers: processes that decode images, by default one for each core but one, at most 8;
            0 decodes in this process.
        retry_failed: ask again for stickers that failed before.
        reuse: earlier runs, or folders of them, whose rows are taken over where the same would be asked.
        embed_images: keep the image bytes in the shards.
        strict: failed rows are an error.
        early_stop: stop when the first 20 answers are all unusable.
        allow_changed_images: go on with a run although pictures that it described are others now.
        failed_limit: share of failed rows above which the end of the run says so.
        dry_run: describe a handful, keep nothing, and estimate the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path
    worker: Annotated[Worker | None, BeforeValidator(_parse_worker)] = None
    attempts: int = Field(default=1, ge=1, le=20)
    shard_rows: int = Field(default=512, ge=1)
    window: int = Field(default=512, ge=1)
    decode_workers: int = Field(default_factory=_spare_cores, ge=0, le=256)
    retry_failed: bool = False
    reuse: tuple[Path, ...] = ()
    embed_images: bool = False
    strict: bool = False
    early_stop: bool = True
    allow_changed_images: bool = False
    failed_limit: float = Field(default=FAILED_LIMIT, ge=0.0, le=1.0)
    dry_run: bool = False


_MODELS: dict[str, type[BaseModel]] = {
    "corpus": CorpusSource,
    "selection": Selection,
    "engine": EngineOptions,
    "run": RunOptions,
}


class DescribeConfig(BaseModel):
    """One describe run; `prompt` is the name or path of a prompt pack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Fields of the inner models that may stand at the top, with the model they belong to.
    SHORT_NAMES: ClassVar[dict[str, str]] = {
        field: name for name, model in _MODELS.items() for field in model.model_fields if field != "kind"
    }

    corpus: CorpusSource
    selection: Selection = Selection()
    engine: EngineOptions = EngineOptions()
    run: RunOptions
    image: ImageTransform = ImageTransform()
    prompt: str = "multiview"

    @model_validator(mode="before")
    @classmethod
    def _take_short_names(cls, fields: Any) -> Any:
        return _nest(fields) if isinstance(fields, Mapping) else fields


def build_describe_config(file: Path | None, *layers: Mapping[str, Any]) -> DescribeConfig:
    """Build a configuration from a YAML file and layers of fields, the later over the earlier.

    Args:
        file: YAML mapping with fields of `DescribeConfig`, None for none.
        layers: by field name; a dot reaches inside ("image.max_side"). A field that was not given must not be
            in its layer.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a field is unknown or its value wrong; the message names it.
    """
    fields = {} if file is None else read_settings(file)
    # Layer by layer, so that a short name in a later one wins over a long one in an earlier.
    nested = [_nest(layer) for layer in (fields, *layers)]
    return build(DescribeConfig, *nested, what="the describe configuration")


def _nest(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with those that may stand at the top in their own models.

    Raises:
        ValueError: a field is given in both places.
    """
    top = merge(fields)
    if isinstance(top.get("engine"), str):
        top["engine"] = {"kind": top["engine"]}
    if "part" in top:
        # The name that `worker` had before.
        if "worker" in top:
            raise ValueError("the describe configuration gives worker and part, which are the same")
        top["worker"] = top.pop("part")
    inner: dict[str, Any] = {name: top.pop(name, {}) for name in _MODELS}
    for field, name in DescribeConfig.SHORT_NAMES.items():
        if field in top and isinstance(inner[name], Mapping):
            if field in inner[name]:
                raise ValueError(f"the describe configuration gives {field} twice: also as {name}.{field}")
            inner[name] = {**inner[name], field: top.pop(field)}
    return {**top, **inner}
