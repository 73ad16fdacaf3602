"""State dicts as the released LORA and TGCA-PVT lay them out, for any of their `locals`, by hand.

Beside MGHFT's layout: no `cross_proj`, `vl_proj`, `norm_t`, `tau`; `l_proj` goes to the fusion's width.
TGCA-PVT has a frequency module before every patch embedding, a convolution for every stage, used or not, and
two more layers in its fusion, of which `attn.norm` is never read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from released_layout import HIDDEN, TEXT, WIDTHS, released_state
from torch import Tensor

TEXT_TOKENS = 30


def released_peer_state(network: str, local_stages: Sequence[int], *, alpha: int = 1) -> dict[str, Tensor]:
    """Return random weights under the released names, the text encoder not included."""
    state = {
        name: tensor
        for name, tensor in released_state((*local_stages[:3], 0), alpha=alpha).items()
        if not re.match(r"(vision_model\.)?(cross_proj|vl_proj|norm_t|tau|l_proj)", name)
    }
    tokens = state["pos_embed"].shape[1]
    if network != "lora-v":
        state["l_proj.weight"], state["l_proj.bias"] = torch.randn(HIDDEN, TEXT), torch.randn(HIDDEN)
        state["pos_embed"] = torch.randn(1, tokens + TEXT_TOKENS, HIDDEN)
    if network == "tgca-pvt":
        for stage, channels in enumerate((3, *WIDTHS[:3]), start=1):
            fft, squeezed = f"vision_model.patch_embed{stage}.fft", channels // 16
            for name in ("r", "i"):
                state[f"{fft}.{name}"] = torch.randn(channels, channels)
                state[f"{fft}.{name}b"] = torch.randn(channels)
            for gate in ("SE1", "SE2"):
                state[f"{fft}.{gate}.fc.0.weight"] = torch.randn(squeezed, channels)
                state[f"{fft}.{gate}.fc.2.weight"] = torch.randn(channels, squeezed)
        for stage, width in enumerate(WIDTHS, start=1):
            state[f"vision_model.conv{stage}.weight"] = torch.randn(width, width, 1)
            state[f"vision_model.conv{stage}.bias"] = torch.randn(width)
        state["fusion_model.attn.conv.weight"] = torch.randn(HIDDEN, HIDDEN, 1)
        state["fusion_model.attn.conv.bias"] = torch.randn(HIDDEN)
        state["fusion_model.attn.norm.weight"] = torch.randn(HIDDEN)
        state["fusion_model.attn.norm.bias"] = torch.randn(HIDDEN)
    return state
