"""Several processes of one training: how they start, agree and share weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accelerator": ["build_accelerator"],
        "collectives": ["ProcessLostError"],
        "fsdp": ["Weights"],
    },
)
