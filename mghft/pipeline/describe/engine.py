"""The engine of a describe run: which model, what decides its texts, how it is started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.model_source import ModelSource, find_model
from mghft.pipeline.prompting.pack import load_pack

StartEngine = Callable[[ModelSource, DescribeConfig], Engine]


def find_source(config: DescribeConfig) -> ModelSource:
    """The model of a configuration; local weights are hashed."""
    if config.engine == "openai":
        return ModelSource(config.model, config.model)
    return find_model(config.model, config.revision)


def engine_facts(config: DescribeConfig) -> dict[str, Any]:
    """What decides the texts besides model and prompt."""
    if config.engine == "openai":
        from mghft.pipeline.engines.endpoint import server_facts

        return server_facts(config.model, config.server)
    from mghft.pipeline.engines.vllm_engine import vllm_version

    return {
        "name": "vllm",
        "version": vllm_version(),
        "dtype": config.vllm.dtype,
        "max_model_len": config.vllm.max_model_len,
    }


def open_engine(source: ModelSource, config: DescribeConfig, *, share_images: bool | None = None) -> Engine:
    """Starts the engine of a configuration.

    Args:
        source: the model.
        config: its engine and options.
        share_images: several requests are about one image; None: as its prompt pack says.
    """
    if config.engine == "openai":
        from mghft.pipeline.engines.openai_engine import OpenAiEngine

        return OpenAiEngine(source.location, config.server)
    from mghft.pipeline.engines.vllm_engine import VllmEngine

    return VllmEngine(
        source,
        config.vllm,
        share_images=load_pack(config.prompt).mode == "per-view" if share_images is None else share_images,
        trust_remote_code=config.trust_remote_code,
    )
