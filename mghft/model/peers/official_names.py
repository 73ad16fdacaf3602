"""Names of the peers' parameters in the released code of LORA and TGCA-PVT."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mghft.model.peers.config import Network
from mghft.model.state_dict_keys import TEXT_PREFIX, VISION_PREFIX, mghft_name

# Parts of MGHFT's released code that neither has.
_OF_MGHFT = re.compile(r"(vision_model\.)?(cross_proj[1-4]\..+|norm_t\..+|tau)|vl_proj\..+")
_FREQUENCY = re.compile(r"vision_model\.patch_embed([1-4])\.fft\.(.+)")
_CONTEXT = re.compile(r"vision_model\.conv([1-4])\.(weight|bias)")
_FREQUENCY_PARTS: dict[str, str] = {
    "r": "real",
    "i": "imaginary",
    "rb": "real_bias",
    "ib": "imaginary_bias",
    "SE1.fc.0.weight": "real_gate.reduce.weight",
    "SE1.fc.2.weight": "real_gate.expand.weight",
    "SE2.fc.0.weight": "imaginary_gate.reduce.weight",
    "SE2.fc.2.weight": "imaginary_gate.expand.weight",
}


def released_network(names: Iterable[str]) -> Network | None:
    """Return which of the peers a released state dict is of, by its names alone; None for any other."""
    known = set(names)
    if not any(name.startswith(VISION_PREFIX) for name in known) or any(map(_OF_MGHFT.fullmatch, known)):
        return None
    if any(map(_FREQUENCY.fullmatch, known)) or any(map(_CONTEXT.fullmatch, known)):
        return "tgca-pvt"
    if not any(name.startswith("fusion_model.") for name in known):
        return None
    return "lora" if any(name.startswith("l_proj.") for name in known) else "lora-v"


def peer_name(official: str) -> str | None:
    """Return our name of a parameter of the released code; None if it has no counterpart."""
    if _OF_MGHFT.fullmatch(official):
        return None
    if match := _FREQUENCY.fullmatch(official):
        part = _FREQUENCY_PARTS.get(match[2])
        return None if part is None else f"frequency.{int(match[1]) - 1}.{part}"
    if match := _CONTEXT.fullmatch(official):
        return f"topic_contexts.{int(match[1]) - 1}.linear.{match[2]}"
    if official.startswith("l_proj."):
        return official.replace("l_proj.", "text_projection.")
    if official.startswith("fusion_model.attn.conv."):
        return official.replace("fusion_model.attn.conv.", "fusion.attention.context.linear.")
    if official.startswith("fusion_model.attn.norm."):
        return official.replace("fusion_model.attn.norm.", "fusion.attention.norm.")
    return mghft_name(official)


def to_our_form(name: str, tensor: Tensor) -> Tensor:
    """Return a released tensor in the form that our parameter of that name has.

    Convolutions with a kernel of 1 are linear layers here, and of the matrices of the frequency modules only
    the diagonal is kept, the one part that is read.
    """
    if re.fullmatch(r"frequency\.\d\.(real|imaginary)", name) and tensor.ndim == 2:
        return torch.diagonal(tensor).reshape(-1, 1, 1).clone()
    if name.endswith(("context.linear.weight",)) or re.fullmatch(r"topic_contexts\.\d\.linear\.weight", name):
        return tensor.squeeze(-1) if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor
    return tensor


def split_released(
    state: Mapping[str, Tensor], title: str
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str]]:
    """Split a released state dict into the network's parameters and the text encoder's.

    Args:
        title: of the network, for the message.

    Returns:
        The network's tensors in our form under our names; the text encoder's under BERT's; and of every
        tensor of the network the name in the file, by ours.

    Raises:
        ValueError: a parameter belongs to neither.
    """
    tensors: dict[str, Tensor] = {}
    encoder: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in state.items():
        if name.startswith(TEXT_PREFIX):
            encoder[name.removeprefix(TEXT_PREFIX)] = tensor
            continue
        ours = peer_name(name)
        if ours is None:
            raise ValueError(
                f"parameter {name!r} is not one of {title}'s: pass a checkpoint of the released code"
            )
        tensors[ours] = to_our_form(ours, tensor)
        origin[ours] = name
    return tensors, encoder, origin
