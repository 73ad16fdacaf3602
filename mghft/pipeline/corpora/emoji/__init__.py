"""The emoji corpus: open-licence emoji art in ten styles, labelled with seven emotions."""

from mghft.pipeline.corpora.emoji.build import build_emoji_corpus, plan_rows
from mghft.pipeline.corpora.emoji.packages import default_cache
from mghft.pipeline.corpora.emoji.table import CORPUS_STYLES, INTERPRETER_STYLES, LABELS, load_table

__all__ = [
    "CORPUS_STYLES",
    "INTERPRETER_STYLES",
    "LABELS",
    "build_emoji_corpus",
    "default_cache",
    "load_table",
    "plan_rows",
]
