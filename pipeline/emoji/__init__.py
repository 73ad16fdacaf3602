"""The emoji corpus: open-licence emoji art in ten styles, labelled with seven emotions."""

from pipeline.emoji.build import build_emoji_corpus, plan_rows
from pipeline.emoji.packages import default_cache
from pipeline.emoji.table import CORPUS_STYLES, INTERPRETER_STYLES, LABELS, load_table

__all__ = [
    "CORPUS_STYLES",
    "INTERPRETER_STYLES",
    "LABELS",
    "build_emoji_corpus",
    "default_cache",
    "load_table",
    "plan_rows",
]
