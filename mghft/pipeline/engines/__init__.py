"""Engines that answer questions about images: vLLM in this process, or a server."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Answer", "Engine", "Request"],
        "model_source": ["ModelSource", "find_model"],
        "options": ["ServerOptions", "VllmOptions"],
    },
)
