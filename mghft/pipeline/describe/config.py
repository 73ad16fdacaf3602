"""Everything that can be chosen for a describe run, in one frozen model filled by a YAML file and options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mghft.pipeline.engines.options import ServerOptions, VllmOptions
from mghft.pipeline.images.decode import ImageTransform
from mghft.pipeline.settings import build, read_settings


def _spare_cores() -> int:
    """Cores of this process but the engine's own, 1 to 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1))


class DescribeConfig(BaseModel):
    """One describe run.

    Attributes:
        card: name or path of the data card.
        data: root of the corpus.
        out: run folder.
        engine: "vllm" in this process, or "openai", any server that speaks its protocol (`server`).
        model: "interpreter" (the shipped stand-in), a folder, or a hub id; with a server, its name there.
        where, ids, per_class, sample, seed, limit: which stickers, see `corpora.selection.select`.
        part: "i/n", this process' share of the stickers (i from 1 to n), for several processes on one folder.
        attempts: how often a sticker is asked at most before its row says failed.
        decode_workers: processes that decode images, by default one for each core but one, at most 8;
            0 decodes in this process.
        shard_rows: rows of a shard.
        reuse: earlier runs, or folders of them, whose rows are taken over where the same would be asked.
        dry_run: describe a handful, keep nothing, and estimate the rest.
        window: stickers in memory at once: being decoded, asked about, or waiting for either.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: str
    data: Path
    out: Path
    engine: Literal["vllm", "openai"] = "vllm"
    model: str = "interpreter"
    revision: str | None = None
    prompt: str = "multiview"
    split: str | None = None
    where: tuple[str, ...] = ()
    ids: Path | None = None
    per_class: int | None = None
    sample: int | None = None
    seed: int = 0
    limit: int | None = None
    part: str | None = None
    attempts: int = Field(default=1, ge=1, le=20)
    shard_rows: int = Field(default=512, ge=1)
    window: int = Field(default=512, ge=1)
    decode_workers: int = Field(default_factory=_spare_cores, ge=0, le=256)
    retry_failed: bool = False
    reuse: tuple[Path, ...] = ()
    embed_images: bool = False
    strict: bool = False
    dry_run: bool = False
    trust_remote_code: bool = False
    image: ImageTransform = ImageTransform()
    vllm: VllmOptions = VllmOptions()
    server: ServerOptions = ServerOptions()

    @model_validator(mode="after")
    def _engine_fits(self) -> DescribeConfig:
        if self.engine == "openai":
            if self.server.base_url is None:
                raise ValueError(
                    "the engine openai needs the address of its server: give --base-url, "
                    "for example http://localhost:8000/v1"
                )
            if self.model == "interpreter":
                raise ValueError("the engine openai needs the model's name on the server: give --model")
        return self

    @field_validator("part")
    @classmethod
    def _part(cls, part: str | None) -> str | None:
        if part is not None:
            _parse_part(part)
        return part

    @property
    def worker_numbers(self) -> tuple[int, int] | None:
        """(i, n) of `part`."""
        return None if self.part is None else _parse_part(self.part)


def _parse_part(part: str) -> tuple[int, int]:
    left, _, right = part.partition("/")
    if not (left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right)):
        raise ValueError(f"must be i/n with i from 1 to n, for example 1/4, not {part!r}")
    return int(left), int(right)


def build_describe_config(file: Path | None, overrides: Mapping[str, Any]) -> DescribeConfig:
    """A configuration from a YAML file and options; options win, and one that was not given does not exist.

    Args:
        file: YAML mapping with fields of `DescribeConfig`, None for none.
        overrides: by field name; a dot reaches inside ("image.max_side").

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a field is unknown or its value wrong; the message names it.
    """
    fields = {} if file is None else read_settings(file)
    return build(DescribeConfig, fields, overrides, what="the describe configuration")
