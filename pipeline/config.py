"""Everything that can be chosen for a describe run, in one frozen model filled by a YAML file and options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.images import ImageTransform


def _spare_cores() -> int:
    """Cores of this process but the engine's own, 1 to 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1))


class VllmOptions(BaseModel):
    """What vLLM is started with; None leaves vLLM's own default.

    Attributes:
        dtype: "auto" takes the checkpoint's; part of the manifest, since it changes texts.
        max_model_len: longest prompt plus answer in tokens.
        max_num_seqs: requests decoded together.
        kv_cache_gib: memory of the key-value cache on a CPU, in GiB.
        enable_prefix_caching: read what prompts begin with alike only once; by default where a pack asks
            several times about an image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int | None = Field(default=None, ge=16)
    max_num_seqs: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0.0, le=1.0)
    tensor_parallel_size: int = Field(default=1, ge=1)
    kv_cache_gib: int = Field(default=1, ge=1)
    enable_prefix_caching: bool | None = None


class ServerOptions(BaseModel):
    """An OpenAI-compatible server and how it is asked.

    Attributes:
        base_url: address up to and with the version, as in http://localhost:8000/v1; there is no default, so
            that no picture leaves the machine unasked.
        key_env: environment variable that holds the key; the key itself is written nowhere.
        concurrency: requests in flight at once.
        timeout: seconds for one request.
        max_retries: further tries after 408, 409, 429, 5xx or a broken connection.
        structured: what forces JSON: "schema" (a JSON schema), "object" (any JSON), "none" (the prompt);
            "auto" begins with the schema and steps down when the server refuses it.
        price_input, price_output: money for a million tokens, for estimates and statistics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=16, ge=1, le=1024)
    timeout: float = Field(default=300.0, gt=0.0)
    max_retries: int = Field(default=8, ge=0, le=100)
    structured: Literal["auto", "schema", "object", "none"] = "auto"
    price_input: float | None = Field(default=None, ge=0.0)
    price_output: float | None = Field(default=None, ge=0.0)

    def cost(self, prompt_tokens: float, output_tokens: float) -> float | None:
        """Money for so many tokens; None when no price is given."""
        if self.price_input is None and self.price_output is None:
            return None
        return ((self.price_input or 0.0) * prompt_tokens + (self.price_output or 0.0) * output_tokens) / 1e6


class DescribeConfig(BaseModel):
    """One describe run.

    Attributes:
        card: name or path of the data card.
        data: root of the corpus.
        out: run folder.
        engine: "vllm" in this process, or "openai", any server that speaks its protocol (`server`).
        model: "interpreter" (the shipped stand-in), a folder, or a hub id; with a server, its name there.
        where, ids, per_class, sample, seed, limit: which stickers, see `pipeline.subsets.select`.
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
        reason = first["msg"].removeprefix("Value error, ")
        raise ValueError(
            f"the field '{where}' of the describe configuration: {reason}" if where else reason
        ) from None
