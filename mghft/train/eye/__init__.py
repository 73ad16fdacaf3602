"""The shipped eye: a small backbone that was trained to tell emoji apart, and how to make it again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"weights": ["SHIPPED", "load_first_weights"]}
)
