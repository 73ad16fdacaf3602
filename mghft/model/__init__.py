"""MGHFT and its parts in plain torch; knows nothing of this project's files."""

from mghft.model.config import MGHFTConfig
from mghft.model.convert import load_official_checkpoint, load_pvt_weights
from mghft.model.cost import count_parameters
from mghft.model.explain import Explanation, explain
from mghft.model.mghft import MGHFT, MGHFTOutput
from mghft.model.text_encoder import TextEncoder
from mghft.model.visualize import overlay

__all__ = [
    "MGHFT",
    "Explanation",
    "MGHFTConfig",
    "MGHFTOutput",
    "TextEncoder",
    "count_parameters",
    "explain",
    "load_official_checkpoint",
    "load_pvt_weights",
    "overlay",
]
