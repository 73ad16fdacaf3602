"""Emotions of stickers and memes: descriptions in four views by a multimodal LLM, fused into a vision model.

Names are loaded when they are first used, so importing this package costs neither torch nor pydantic.
`mghft.train` is both the room of that name and, called, the function `mghft.api.train`.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.api import describe as describe
    from mghft.api import evaluate as evaluate
    from mghft.api import train as train
    from mghft.inference.prediction import Prediction as Prediction
    from mghft.inference.predictor import Predictor as Predictor
    from mghft.model.mghft import MGHFT as MGHFT
    from mghft.pipeline.corpora.card import load_card as load_card
    from mghft.pipeline.corpora.load import load_corpus as load_corpus
    from mghft.pipeline.runs.shards import read_descriptions as read_descriptions

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["train"],
    submod_attrs={
        "api": ["describe", "evaluate"],
        "inference.prediction": ["Prediction"],
        "inference.predictor": ["Predictor"],
        "model.mghft": ["MGHFT"],
        "pipeline.corpora.card": ["load_card"],
        "pipeline.corpora.load": ["load_corpus"],
        "pipeline.runs.shards": ["read_descriptions"],
    },
)
