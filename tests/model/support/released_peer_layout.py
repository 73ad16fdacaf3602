"""State dicts as the released code of LORA and TGCA-PVT lays them out, for any `locals`, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from released_layout import HIDDEN, TEXT, WIDTHS, released_state
from torch import Tensor

TEXT_POSITIONS = 30
# What MGHFT's released code has and theirs does not.
_OF_MGHFT = ("vision_model.cross_proj", "vision_model.norm_t.", "vision_model.tau", "vl_proj.")


def released_peer_state(
    network: str, local_stages: Sequence[int], *, alpha: int = 1, classes: int = 7
) -> dict[str, Tensor]:
    """Return random weights of "lora-v", "lora" or "tgca-pvt", the text encoder not included.

    TGCA-PVT has `conv` in all four stages, whatever its `locals`, and empty matrices before the first stage.
    """
    state = released_state(local_stages, alpha=alpha, classes=classes)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_OF_MGHFT)}
    generator = torch.Generator().manual_seed(11)

    def add(name: str, *shape: int) -> None:
        state[name] = 0.1 * torch.randn(shape, generator=generator)

    del state["l_proj.weight"], state["l_proj.bias"]
    tokens = state["pos_embed"].shape[1]
    if network != "lora-v":
        add("l_proj.weight", HIDDEN, TEXT)
        add("l_proj.bias", HIDDEN)
        add("pos_embed", 1, tokens + TEXT_POSITIONS, HIDDEN)
    if network == "tgca-pvt":
        for stage, width in enumerate((3, *WIDTHS[:3])):
            start = f"vision_model.patch_embed{stage + 1}.fft"
            for name in ("r", "i"):
                add(f"{start}.{name}", width, width)
                add(f"{start}.{name}b", width)
            for gate in ("SE1", "SE2"):
                add(f"{start}.{gate}.fc.0.weight", width // 16, width)
                add(f"{start}.{gate}.fc.2.weight", width, width // 16)
            add(f"vision_model.conv{stage + 1}.weight", WIDTHS[stage], WIDTHS[stage], 1)
            add(f"vision_model.conv{stage + 1}.bias", WIDTHS[stage])
        add("fusion_model.attn.conv.weight", HIDDEN, HIDDEN, 1)
        add("fusion_model.attn.conv.bias", HIDDEN)
        add("fusion_model.attn.norm.weight", HIDDEN)
        add("fusion_model.attn.norm.bias", HIDDEN)
    return state
