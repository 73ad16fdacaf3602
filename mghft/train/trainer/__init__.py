"""The training loop, its optimizer, losses, checks and starts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "losses": ["Criterion", "class_weights", "focal_loss"],
        "trainer": ["Trainer", "train"],
        "warm_start": ["load_initial"],
    },
)
