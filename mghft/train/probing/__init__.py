"""Prompts scored without training MGHFT: probes on text features, and what can be counted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "described_runs": ["find_runs"],
        "score": ["ScoreConfig", "Scores", "score_prompts"],
    },
)
