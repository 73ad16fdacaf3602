"""Prompt packs: how a model is asked for the views."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lint": ["pack_notes"],
        "load": ["find_pack", "load_pack", "pack_names", "read_pack"],
        "pack": ["PromptPack", "Sampling"],
    },
)
