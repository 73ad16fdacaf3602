"""Run folders of training: their files, written whole or not at all, the card of the weights, trackers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["checkpoint_paths", "load_checkpoint", "save_checkpoint"],
        "files": ["read_json", "read_metrics"],
        "folder": ["RunFolder"],
        "model_card": ["training_card"],
        "records": ["EpochRecord", "SavedState", "Summary"],
        "tracking": ["Tracker", "open_tracker"],
    },
)
