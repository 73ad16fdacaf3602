"""Several processes of one training: their start, what they agree upon, and their shards of the weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "accelerator": ["build_accelerator"],
        "collectives": ["ProcessLostError", "all_reduce_mean", "broadcast_from_main", "processes_watched"],
        "fsdp": ["Weights", "full_state", "load_full_state", "prepare"],
        "launch": ["end_with_launcher", "launch_processes", "launched", "launched_here"],
    },
)
