"""The options of an engine: which one, its model, how it is started, or how a server is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mghft.pipeline.engines.model_source import TINY_LLAVA
from mghft.pipeline.engines.number_format import NumberFormat


class VllmOptions(BaseModel):
    """The settings that vLLM is started with; None leaves vLLM's own default.

    Attributes:
        dtype: number format, part of the manifest, since it changes texts; "auto" is the checkpoint's on a
            GPU, and on a CPU what the processor computes fast (`number_format`).
        max_model_len: longest prompt plus response in tokens.
        max_num_seqs: requests decoded together.
        kv_cache_gib: memory of the key-value cache on a CPU, in GiB.
        enable_prefix_caching: read what prompts begin with alike only once; by default where a pack asks
            several times about an image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: NumberFormat = "auto"
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
        max_retries: further attempts after 408, 409, 429, 5xx or a broken connection.
        structured: how JSON is forced: "schema" (a JSON schema), "object" (any JSON), "none" (the prompt);
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
        """Return money for so many tokens; a price that is not given counts nothing, None without any."""
        if self.price_input is None and self.price_output is None:
            return None
        return ((self.price_input or 0.0) * prompt_tokens + (self.price_output or 0.0) * output_tokens) / 1e6


class EngineOptions(BaseModel):
    """The engine of a run and its model.

    Attributes:
        kind: "vllm" in this process, or "openai", any server that speaks its protocol (`server`).
        model: "tiny-llava" (the shipped stand-in), a folder, or a hub id; with a server, its name there.
        revision: of a model on the hub.
        trust_remote_code: run code that comes with the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vllm", "openai"] = "vllm"
    model: str = TINY_LLAVA
    revision: str | None = None
    trust_remote_code: bool = False
    vllm: VllmOptions = VllmOptions()
    server: ServerOptions = ServerOptions()

    @model_validator(mode="after")
    def _server_is_known(self) -> EngineOptions:
        if self.kind == "openai":
            if self.server.base_url is None:
                raise ValueError(
                    "the engine openai needs the address of its server: give --base-url, "
                    "for example http://localhost:8000/v1"
                )
            if "model" not in self.model_fields_set:
                raise ValueError("the engine openai needs the model's name on the server: give --model")
        return self
