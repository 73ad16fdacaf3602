"""Robustness: what runs lose when views are missing, texts belong to others, or pictures are disturbed."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "conditions": ["Condition", "conditions_of"],
        "measure": ["Robustness", "RobustnessConfig", "measure_robustness"],
        "tables": ["write_robustness"],
    },
)
