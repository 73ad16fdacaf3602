"""From the options of an engine to its model, the facts for the manifest, and the running engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.endpoint import plain_address
from mghft.pipeline.engines.model_source import ModelSource, find_model
from mghft.pipeline.engines.number_format import fast_format
from mghft.pipeline.engines.options import EngineOptions, ServerOptions, VllmOptions
from mghft.pipeline.prompting.pack import Sampling


class EngineFacts(TypedDict):
    """Settings of an engine that decide its texts besides model and prompt."""

    name: str
    version: str | None


class VllmFacts(EngineFacts):
    """Those of vLLM."""

    dtype: str
    max_model_len: int | None


class ServerFacts(EngineFacts):
    """Those of a server: nothing secret, and nothing about speed."""

    model: str
    base_url: str | None
    structured: str


def find_source(options: EngineOptions) -> ModelSource:
    """Find the model; local weights are hashed, a server's model is known by its name alone."""
    if options.kind == "openai":
        return ModelSource(options.model, options.model, trust_remote_code=options.trust_remote_code)
    return find_model(options.model, options.revision, trust_remote_code=options.trust_remote_code)


def settle_format(
    options: EngineOptions, source: ModelSource, begun: Mapping[str, object] | None = None
) -> EngineOptions:
    """Return the options with the number format that vLLM will really use; another engine's stay as they are.

    Args:
        source: the model.
        begun: facts about the engine that the run was begun with; what it used, it goes on with.
    """
    if options.kind != "vllm" or options.vllm.dtype != "auto":
        return options
    chosen = (begun or {}).get("dtype") or fast_format(source.location)
    return options.model_copy(update={"vllm": options.vllm.model_copy(update={"dtype": chosen})})


def engine_facts(options: EngineOptions) -> EngineFacts:
    """Return the facts about the engine that belong into a run's manifest."""
    if options.kind == "openai":
        return server_facts(options.model, options.server)
    return vllm_facts(options.vllm)


def vllm_facts(options: VllmOptions) -> VllmFacts:
    """Return the facts about vLLM; raises FileNotFoundError when it is not installed."""
    from mghft.pipeline.engines.vllm_engine import vllm_version

    return {
        "name": "vllm",
        "version": vllm_version(),
        "dtype": options.dtype,
        "max_model_len": options.max_model_len,
    }


def server_facts(model: str, options: ServerOptions) -> ServerFacts:
    """Return the facts about a server and the model of this name on it."""
    return {
        "name": "openai",
        "version": None,
        "model": model,
        "base_url": None if options.base_url is None else plain_address(options.base_url),
        "structured": options.structured,
    }


def open_engine(
    source: ModelSource,
    options: EngineOptions,
    *,
    share_images: bool,
    system: str | None = None,
    sampling: Sampling | None = None,
) -> Engine:
    """Start the engine.

    Args:
        source: the model.
        options: the engine's.
        share_images: whether several requests are about one image.
        system, sampling: of the requests to come, by which a server is asked before the first of them.

    Raises:
        ValueError, FileNotFoundError: it cannot be started; see the engines.
    """
    if options.kind == "openai":
        from mghft.pipeline.engines.openai_engine import OpenAiEngine

        return OpenAiEngine(source.location, options.server, system=system, sampling=sampling)
    from mghft.pipeline.engines.vllm_engine import VllmEngine

    return VllmEngine(source, options.vllm, share_images=share_images)
