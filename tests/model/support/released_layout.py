"""State dicts as the released code lays them out, for any of its `locals`, by hand and not by our own model.

Names and shapes: the released code makes `cross_proj` in all four stages and reads it only where a stage has
local tokens; `norm_t` and `tau` are never read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WIDTHS, DEPTHS, HEADS = (8, 16, 40, 64), (3, 4, 6, 3), (1, 2, 5, 8)
MLP_RATIOS, REDUCTIONS, PATCHES = (8, 8, 4, 4), (8, 4, 2, 1), (4, 2, 2, 2)
HIDDEN, FUSION_MLP, TEXT, CLASSES = 48, 96, 32, 7


def released_state(
    local_stages: Sequence[int], *, alpha: int = 1, classes: int = CLASSES
) -> dict[str, Tensor]:
    """Return random weights under the released names, the text encoder not included."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs), (outputs,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    # Positions are those of 224 px, whatever the size of the images.
    side, before, last = 224, 3, WIDTHS[-1]
    tokens = 1 + sum(local_stages[:3])
    for stage in range(4):
        width, reduction, number = WIDTHS[stage], REDUCTIONS[stage], stage + 1
        side //= PATCHES[stage]
        has_token = stage == 3 or bool(local_stages[stage])
        tokens += alpha * reduction**2 * HEADS[stage] * has_token
        norm(f"vision_model.patch_embed{number}.norm", width)
        shapes[f"vision_model.patch_embed{number}.proj.weight"] = (
            width,
            before,
            PATCHES[stage],
            PATCHES[stage],
        )
        shapes[f"vision_model.patch_embed{number}.proj.bias"] = (width,)
        shapes[f"vision_model.pos_embed{number}"] = (1, side**2 + (stage == 3), width)
        for index in range(DEPTHS[stage]):
            block = f"vision_model.block{number}.{index}"
            norm(f"{block}.norm1", width)
            linear(f"{block}.attn.q", width, width)
            linear(f"{block}.attn.kv", width, 2 * width)
            linear(f"{block}.attn.proj", width, width)
            if reduction > 1:
                shapes[f"{block}.attn.sr.weight"] = (width, width, reduction, reduction)
                shapes[f"{block}.attn.sr.bias"] = (width,)
                norm(f"{block}.attn.norm", width)
            norm(f"{block}.norm2", width)
            linear(f"{block}.mlp.fc1", width, width * MLP_RATIOS[stage])
            linear(f"{block}.mlp.fc2", width * MLP_RATIOS[stage], width)
        linear(f"vision_model.cross_proj{number}.0", last, width)
        linear(f"vision_model.cross_proj{number}.2", width, width)
        if local_stages[stage]:
            linear(f"vision_model.local_proj{number}.0", width, width)
            linear(f"vision_model.local_proj{number}.2", width, last)
        if stage < 3 and local_stages[stage]:
            shapes[f"vision_model.cls_token{number}"] = (1, 1, width)
            linear(f"vision_model.global_proj{number}.0", width, width)
            linear(f"vision_model.global_proj{number}.2", width, last)
        before = width
    shapes |= {
        "vision_model.cls_token": (1, 1, last),
        "vision_model.tau": (),
        "pos_embed": (1, tokens, HIDDEN),
    }
    norm("vision_model.norm", last)
    norm("vision_model.norm_t", last)
    linear("l_proj", TEXT, last)
    linear("v_proj", last, HIDDEN)
    linear("vl_proj", last, HIDDEN)
    norm("fusion_model.attention_norm", HIDDEN)
    norm("fusion_model.ffn_norm", HIDDEN)
    for part in ("query", "key", "value", "out"):
        linear(f"fusion_model.attn.{part}", HIDDEN, HIDDEN)
    linear("fusion_model.ffn.fc1", HIDDEN, FUSION_MLP)
    linear("fusion_model.ffn.fc2", FUSION_MLP, HIDDEN)
    linear("head", HIDDEN, classes)
    generator = torch.Generator().manual_seed(7)
    state = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name in state:
        if "norm" in name and name.endswith(".weight"):
            state[name] += 1
    return state
