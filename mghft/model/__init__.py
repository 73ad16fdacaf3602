"""MGHFT and its parts in plain torch; knows nothing of this project's files."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mghft.model.config import PRESETS as PRESETS
    from mghft.model.config import MGHFTConfig as MGHFTConfig
    from mghft.model.convert import Conversion as Conversion
    from mghft.model.convert import convert_checkpoint as convert_checkpoint
    from mghft.model.convert import load_official_checkpoint as load_official_checkpoint
    from mghft.model.convert import load_pvt_weights as load_pvt_weights
    from mghft.model.convert_text_encoder import save_text_encoder as save_text_encoder
    from mghft.model.cost import Cost as Cost
    from mghft.model.cost import PartCost as PartCost
    from mghft.model.cost import count_parameters as count_parameters
    from mghft.model.cost import model_cost as model_cost
    from mghft.model.cost import text_encoder_cost as text_encoder_cost
    from mghft.model.explanation import Explanation as Explanation
    from mghft.model.explanation import explain as explain
    from mghft.model.mghft import MGHFT as MGHFT
    from mghft.model.mghft import MGHFTOutput as MGHFTOutput
    from mghft.model.text_encoder import TextEncoder as TextEncoder
    from mghft.model.visualize import overlay as overlay
    from mghft.model.visualize import overview as overview

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["MGHFTConfig", "PRESETS"],
        "convert": ["Conversion", "convert_checkpoint", "load_official_checkpoint", "load_pvt_weights"],
        "convert_text_encoder": ["save_text_encoder"],
        "cost": ["Cost", "PartCost", "count_parameters", "model_cost", "text_encoder_cost"],
        "explanation": ["Explanation", "explain"],
        "mghft": ["MGHFT", "MGHFTOutput"],
        "text_encoder": ["TextEncoder"],
        "visualize": ["overlay", "overview"],
    },
)
