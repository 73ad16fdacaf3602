"""The released names of LORA's and TGCA-PVT's parameters, and what is read of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mghft.model.state_dict_keys import TEXT_PREFIX, VISION_PREFIX, mghft_name

_TOP = {"view_projection": "text_projection"}
_FREQUENCY = {
    "r": "real",
    "i": "imaginary",
    "rb": "real_bias",
    "ib": "imaginary_bias",
    "SE1.fc.0.weight": "real_gate.squeeze.weight",
    "SE1.fc.2.weight": "real_gate.excite.weight",
    "SE2.fc.0.weight": "imaginary_gate.squeeze.weight",
    "SE2.fc.2.weight": "imaginary_gate.excite.weight",
}
# Of MGHFT alone.
_OF_MGHFT = re.compile(r"(vision_model\.)?(cross_proj[1-4]|vl_proj|norm_t|tau)(\.|$)")


def released_network(names: Mapping[str, object]) -> str:
    """Return which released network has these parameters: mghft, lora-v, lora or tgca-pvt."""
    if any(_OF_MGHFT.match(name) for name in names):
        return "mghft"
    if any(name.startswith(f"{VISION_PREFIX}patch_embed1.fft.") for name in names):
        return "tgca-pvt"
    return "lora" if any(name.startswith("l_proj.") for name in names) else "lora-v"


def peer_name(released: str) -> str | None:
    """Return our name of a released parameter of LORA or TGCA-PVT; None where it has no counterpart."""
    if match := re.fullmatch(r"vision_model\.patch_embed([1-4])\.fft\.(.+)", released):
        part = _FREQUENCY.get(match[2])
        return part and f"frequencies.{int(match[1]) - 1}.{part}"
    if match := re.fullmatch(r"vision_model\.conv([1-4])\.(weight|bias)", released):
        return f"topic_contexts.{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"fusion_model\.attn\.conv\.(weight|bias)", released):
        return f"fusion.attention.context.{match[1]}"
    if _OF_MGHFT.match(released):
        return None
    name = mghft_name(released)
    if name is None:
        return None
    start, dot, rest = name.partition(".")
    return _TOP.get(start, start) + dot + rest


def is_never_read(released: str, tensor: Tensor, *, local: tuple[bool, ...]) -> bool:
    """Return whether the released code creates this parameter and never reads it.

    `attn.norm` and topic convolutions of stages without a class token; gates of width 0, which are a half
    whatever they hold.

    Args:
        local: which of the four stages have a class token.
    """
    if released.startswith("fusion_model.attn.norm."):
        return True
    if match := re.match(r"vision_model\.conv([1-4])\.", released):
        return not local[int(match[1]) - 1]
    return ".fft.SE" in released and tensor.numel() == 0


def convert_peer(
    state: Mapping[str, Tensor], *, local: tuple[bool, ...]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a released state dict into our parameters and the text encoder's, under BERT's names.

    Of the matrices of the frequency module only the diagonals are read; convolutions of width 1 are linear.

    Args:
        state: released names.
        local: as for `is_never_read`.

    Raises:
        ValueError: a parameter belongs to neither.
    """
    tensors: dict[str, Tensor] = {}
    encoder: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(TEXT_PREFIX):
            encoder[name.removeprefix(TEXT_PREFIX)] = tensor
        elif is_never_read(name, tensor, local=local):
            continue
        elif (renamed := peer_name(name)) is None:
            raise ValueError(
                f"parameter {name!r} is none of LORA's or TGCA-PVT's: pass a checkpoint of their released code"
            )
        else:
            tensors[renamed] = _as_kept(renamed, tensor)
    return tensors, encoder


def _as_kept(name: str, tensor: Tensor) -> Tensor:
    if name.startswith("frequencies.") and name.endswith((".real", ".imaginary")) and tensor.ndim == 2:
        return torch.diagonal(tensor).contiguous()
    if name.startswith(("topic_contexts.", "fusion.attention.context.")) and tensor.ndim == 3:
        return tensor.squeeze(-1)
    return tensor
