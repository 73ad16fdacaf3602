"""The emoji corpus: open-licence emoji art in ten styles, labelled with seven emotions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_emoji_corpus", "plan_rows"],
        "packages": ["default_cache"],
        "table": ["CORPUS_STYLES", "LABELS", "STAND_IN_STYLES", "load_table"],
    },
)
