"""What is wrong with a corpus, and what it is made of: checks, duplicates, leaks, statistics, agreement."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["Agreement", "soft_labels", "vote_counts"],
        "check": ["CorpusCheck", "check_corpus"],
        "duplicates": ["Duplicates", "Pair", "find_duplicates"],
        "duplicates_report": ["write_report"],
        "figures": ["draw_sheets", "draw_stats"],
        "hashes": ["Prints", "take_prints"],
        "statistics": ["CorpusStats", "corpus_stats"],
    },
)
