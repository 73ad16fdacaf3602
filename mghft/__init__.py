"""Emotions of stickers and memes: descriptions in four views by a multimodal LLM, fused into a vision model.

Names are loaded when they are first used, so importing this package costs neither torch nor pydantic.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.model.mghft import MGHFT as MGHFT
    from mghft.pipeline.corpora.card import load_card as load_card
    from mghft.pipeline.corpora.load import load_corpus as load_corpus
    from mghft.pipeline.runs.shards import read_descriptions as read_descriptions

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "model.mghft": ["MGHFT"],
        "pipeline.corpora.card": ["load_card"],
        "pipeline.corpora.load": ["load_corpus"],
        "pipeline.runs.shards": ["read_descriptions"],
    },
)
