"""Engines that answer questions about images: vLLM in this process, or a server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Engine", "Request", "RequestKey", "Response"],
        "factory": ["engine_facts", "find_source", "open_engine", "settle_format"],
        "model_source": ["ModelSource", "find_model"],
        "options": ["EngineOptions", "ServerOptions", "VllmOptions"],
    },
)
