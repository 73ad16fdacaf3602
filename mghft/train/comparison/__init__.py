"""Comparison of systems by their saved predictions alone: who made them, and how, does not matter."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compare": ["CompareConfig", "compare"],
        "results": ["Comparison"],
        "statistics": ["ErrorOfTwo", "holm", "mcnemar"],
        "systems": ["ComparedSystems", "align", "read_sources"],
    },
)
