"""Everything that can be chosen for a describe run, in one frozen model filled by a YAML file and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.images import ImageTransform


class EngineOptions(BaseModel):
    """What vLLM is started with; None leaves vLLM's own default.

    Attributes:
        dtype: "auto" takes the checkpoint's; part of the manifest, since it changes texts.
        max_model_len: longest prompt plus answer in tokens.
        max_num_seqs: requests decoded together.
        kv_cache_gib: memory of the key-value cache on a CPU, in GiB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int | None = Field(default=None, ge=16)
    max_num_seqs: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0.0, le=1.0)
    tensor_parallel_size: int = Field(default=1, ge=1)
    kv_cache_gib: int = Field(default=1, ge=1)


class DescribeConfig(BaseModel):
    """One describe run.

    Attributes:
        card: name or path of the data card.
        data: root of the corpus.
        out: run folder.
        model: "interpreter" (the shipped stand-in), a folder, or a hub id.
        part: "i/n", this process' share of the stickers (i from 1 to n), for several processes on one folder.
        attempts: how often a sticker is asked at most before its row says failed.
        shard_rows: rows of a shard; a killed run loses at most the work since its last shard.
        window: stickers given to the engine at once; bounds memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str
    data: Path
    out: Path
    model: str = "interpreter"
    revision: str | None = None
    prompt: str = "multiview"
    split: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    ids: Path | None = None
    part: str | None = None
    attempts: int = Field(default=1, ge=1, le=20)
    shard_rows: int = Field(default=512, ge=1)
    window: int = Field(default=256, ge=1)
    decode_workers: int = Field(default=2, ge=1)
    retry_failed: bool = False
    embed_images: bool = False
    strict: bool = False
    trust_remote_code: bool = False
    image: ImageTransform = ImageTransform()
    engine: EngineOptions = EngineOptions()

    @field_validator("part")
    @classmethod
    def _part(cls, part: str | None) -> str | None:
        if part is not None:
            _parse_part(part)
        return part

    @property
    def part_numbers(self) -> tuple[int, int] | None:
        """(i, n) of `part`."""
        return None if self.part is None else _parse_part(self.part)


def _parse_part(part: str) -> tuple[int, int]:
    left, _, right = part.partition("/")
    if not (left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
        raise ValueError(f"must be i/n with i from 1 to n, for example 1/4, not {part!r}")
    return int(left), int(right)


def build_describe_config(file: Path | None, overrides: Mapping[str, Any]) -> DescribeConfig:
    """A configuration from a YAML file and options; options win, and an option that is None was not given.

    Args:
        file: YAML mapping with fields of `DescribeConfig`, None for none.
        overrides: by field name; a dot reaches inside ("image.max_side").

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a field is unknown or its value wrong; the message names it.
    """
    fields: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"the configuration file {file} is not there")
        try:
            fields = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(
                f"the configuration {file} is no valid YAML: {' '.join(str(error).split())}"
            ) from None
        if not isinstance(fields, dict):
            raise ValueError(f"the configuration {file} is no mapping of fields")
    for name, value in overrides.items():
        if value is None:
            continue
        target = fields
        *outer, last = name.split(".")
        for key in outer:
            target = target.setdefault(key, {})
        target[last] = value
    try:
        return DescribeConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"the field '{where}' of the describe configuration: {first['msg']}") from None
