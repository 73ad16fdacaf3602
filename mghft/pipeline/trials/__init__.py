"""Trials of prompts on the same few stickers: a run for each pack, a page side by side, a history."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "history": ["Entry", "Score", "read_history"],
        "page": ["write_trial_page"],
        "run": ["TrialResult", "run_trial"],
        "trial": ["Subset", "Trial", "TrialPack", "read_trial"],
    },
)
