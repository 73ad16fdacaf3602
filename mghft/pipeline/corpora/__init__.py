"""Corpora on disk, read by their cards into lists of stickers; splits, selections, imports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "card": ["Card", "card_names", "load_card"],
        "import_hf": ["import_data_set"],
        "load": ["load_corpus"],
        "selection": ["Selection"],
        "split_groups": ["keep_together"],
        "splits": ["Ratio", "make_split", "write_split"],
        "sticker": ["Corpus", "Sticker"],
    },
)
