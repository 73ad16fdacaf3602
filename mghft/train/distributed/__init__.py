"""Several processes of one training: their start, what they agree upon, and their shards of the weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accelerator": ["build_accelerator"],
        "collectives": ["ProcessLostError"],
        "fsdp": ["Weights"],
    },
)
