"""The predictor as an HTTP service with a page: batches, limits, figures, a model process that may die."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "server": ["create_app", "serve"],
        "settings": ["ServeConfig"],
    },
)
