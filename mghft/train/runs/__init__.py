"""Run folders of training: what lies in them, how they are written whole, the card of the weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["checkpoint_paths", "load_checkpoint", "save_checkpoint"],
        "files": ["read_json", "read_metrics"],
        "folder": ["RunFolder"],
        "model_card": ["training_card"],
    },
)
