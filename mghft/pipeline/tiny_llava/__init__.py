"""A tiny LLaVA, the shipped stand-in for a real model: everything runs with it, without downloads."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"shipped": ["checkpoint_path"]})
