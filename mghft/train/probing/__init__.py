"""Prompts scored without training MGHFT: probes on text features, and counts on texts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "described_runs": ["DescribedRun", "DescribedSticker", "find_runs"],
        "score": ["ScoreConfig", "score_prompts"],
        "scores": ["PromptScore", "Scores"],
        "text_statistics": ["TextStatistics", "count_texts"],
    },
)
