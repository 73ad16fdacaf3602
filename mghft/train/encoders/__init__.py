"""Frozen encoders as peers: zero-shot, linear probe, image and text together, texts alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fine_tune": ["FineTuned", "fine_tune"],
        "linear": ["LinearProbe", "fit_probe"],
        "probe": ["ProbeConfig", "probe"],
        "zero_shot": ["label_words", "zero_shot"],
    },
)
