"""Prompts scored without training MGHFT: probes on text features, and counts on texts."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.train.probing.described_runs import DescribedRun as DescribedRun
    from mghft.train.probing.described_runs import DescribedSticker as DescribedSticker
    from mghft.train.probing.described_runs import find_runs as find_runs
    from mghft.train.probing.score import ScoreConfig as ScoreConfig
    from mghft.train.probing.score import score_prompts as score_prompts
    from mghft.train.probing.scores import PromptScore as PromptScore
    from mghft.train.probing.scores import Scores as Scores
    from mghft.train.probing.text_statistics import TextStatistics as TextStatistics
    from mghft.train.probing.text_statistics import count_texts as count_texts

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "described_runs": ["DescribedRun", "DescribedSticker", "find_runs"],
        "score": ["ScoreConfig", "score_prompts"],
        "scores": ["PromptScore", "Scores"],
        "text_statistics": ["TextStatistics", "count_texts"],
    },
)
