"""The quality of a corpus: checks, duplicates, leaks, statistics, agreement of its annotators."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agreement": ["Agreement", "measure_agreement", "soft_labels", "vote_counts"],
        "check": ["UNLABELLED", "CorpusCheck", "check_corpus", "check_loaded"],
        "duplicates": ["NEAR", "Duplicates", "Leak", "Pair", "find_duplicates"],
        "duplicates_report": ["check_report", "pair_line", "summarize", "write_report"],
        "equal": ["equal_pictures"],
        "figures": ["draw_sheets", "draw_stats"],
        "hashes": ["Fingerprints", "take_fingerprints"],
        "near": ["HASH_BITS", "NearPair", "near_pairs"],
        "statistics": ["CorpusStats", "Table", "corpus_stats"],
    },
)
