"""Run folders of training: their files, written whole or not at all, the card of the weights, trackers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["checkpoint_paths", "disk_errors_named", "load_checkpoint", "save_checkpoint"],
        "files": ["epoch_line", "read_json", "read_metrics"],
        "folder": ["RunFolder", "package_versions"],
        "inference": ["InferenceConfig", "inference_config", "read_inference"],
        "model_card": ["training_card"],
        "records": ["EpochRecord", "ResolvedConfig", "SavedState", "Summary"],
        "tracking": ["Tracker", "check_tracker", "open_tracker"],
    },
)
