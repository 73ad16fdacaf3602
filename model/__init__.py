"""MGHFT and its parts in plain torch; knows nothing of this project's files."""

from model.config import MGHFTConfig
from model.convert import load_official_checkpoint, load_pvt_weights
from model.explain import Explanation, explain
from model.flops import count_parameters
from model.mghft import MGHFT, MGHFTOutput
from model.overlay import overlay
from model.text_encoder import TextEncoder

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
