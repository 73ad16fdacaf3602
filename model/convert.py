"""Weights made elsewhere: released MGHFT checkpoints and ImageNet PVT files, renamed to this project's names.

Files are read without unpickling anything but tensors and plain containers.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:
    from model.mghft import MGHFT

NOT_RELEASED = frozenset({"missing_view", "text_mean", "text_scale"})
TEXT_PREFIX = "text_model."
VISION_PREFIX = "vision_model."
# The released code creates these and never reads them.
UNUSED = re.compile(r"(vision_model\.)?(norm_t\.(weight|bias)|tau)")

_TOP: dict[str, str] = {
    "l_proj": "view_projection",
    "v_proj": "visual_projection",
    "vl_proj": "text_projection",
    "pos_embed": "token_positions",
    "head": "head",
    "fusion_model.attention_norm": "fusion.attention_norm",
    "fusion_model.ffn_norm": "fusion.mlp_norm",
    "fusion_model.attn.query": "fusion.attention.query",
    "fusion_model.attn.key": "fusion.attention.key",
    "fusion_model.attn.value": "fusion.attention.value",
    "fusion_model.attn.out": "fusion.attention.output",
    "fusion_model.ffn": "fusion.mlp",
}
_BLOCK: dict[str, str] = {
    "norm1": "attention_norm",
    "norm2": "mlp_norm",
    "attn.q": "attention.query",
    "attn.kv": "attention.key_value",
    "attn.proj": "attention.output",
    "attn.sr": "attention.reduction",
    "attn.norm": "attention.reduction_norm",
    "mlp": "mlp",
}
_STAGE: dict[str, str] = {
    "cross_proj": "stage_text_projections.{}",
    "local_proj": "local_projections.{}",
    "global_proj": "global_projections.{}",
    "pos_embed": "backbone.stages.{}.position_embedding",
    "cls_token": "backbone.stages.{}.class_token",
    "patch_embed": "backbone.stages.{}.patch",
}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a .pth file (bare, or under the key "model")."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}: name a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # Of unusual pickle protocols; such a file either loads or is refused below.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can break the reader in any way
        raise ValueError(
            f"{path} was refused because it holds something other than plain tensors or is damaged: "
            "use a .safetensors file or a checkpoint from a trusted source"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path} holds no state dict: use a file whose content or key 'model' maps names to tensors"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def our_name(official: str) -> str | None:
    """This project's name of a parameter of the released code or of PVT; None if there is no counterpart."""
    name = official.removeprefix(VISION_PREFIX)
    if official == name:
        for theirs, ours in _TOP.items():
            if name == theirs or name.startswith(theirs + "."):
                return ours + name[len(theirs) :]
    if name == "cls_token":
        return "backbone.stages.3.class_token"
    if name.startswith("norm."):
        return "token_norm" + name.removeprefix("norm")
    if match := re.fullmatch(r"block([1-4])\.(\d+)\.(.+)", name):
        stage, block, rest = match.groups()
        for theirs, ours in _BLOCK.items():
            if rest.startswith(theirs + "."):
                return f"backbone.stages.{int(stage) - 1}.blocks.{block}.{ours}{rest[len(theirs) :]}"
    if match := re.fullmatch(r"([a-z_]+)([1-4])(\..+)?", name):
        theirs, stage, rest = match.group(1), match.group(2), match.group(3) or ""
        if theirs in _STAGE:
            ours = _STAGE[theirs].format(int(stage) - 1)
            if theirs == "patch_embed":
                return ours + rest.replace(".proj.", "_projection.").replace(".norm.", "_norm.")
            return ours + rest
    return None


def convert_official(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Splits a released state dict into MGHFT's parameters and the text encoder's, under BERT's names."""
    ours: dict[str, Tensor] = {}
    encoder: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(TEXT_PREFIX):
            encoder[name.removeprefix(TEXT_PREFIX)] = tensor
        elif (new := our_name(name)) is not None:
            ours[new] = tensor
        elif not UNUSED.fullmatch(name):
            raise ValueError(
                f"parameter {name!r} is not one of MGHFT's: pass a checkpoint of the released code"
            )
    return ours, encoder


def load_official_checkpoint(model: MGHFT, path: str | Path) -> dict[str, Tensor]:
    """Loads a released checkpoint into a model of its dimensions; returns its text encoder's parameters.

    What the released code does not have (stand-ins for missing views, statistics of text) keeps its values.
    """
    ours, encoder = convert_official(read_weights(path))
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in ours and name not in NOT_RELEASED]
    wrong = [
        name for name, tensor in ours.items() if name not in wanted or wanted[name].shape != tensor.shape
    ]
    if missing or wrong:
        raise ValueError(
            f"{path} does not fit this configuration at parameter {(missing + wrong)[0]!r}: "
            "set dimensions, local_stages, alpha and num_classes as in its training"
        )
    model.load_state_dict(ours, strict=False)
    return encoder


def load_pvt_weights(model: MGHFT, path: str | Path) -> list[str]:
    """Initialises the backbone from ImageNet weights of PVT; returns the names that the file lacks.

    The file's classifier is dropped. The class tokens of stages 1–3 are MGHFT's own and are always returned.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in read_weights(path).items():
        if name.startswith("head."):
            continue
        new = our_name(name)
        if new is None:
            raise ValueError(f"parameter {name!r} in {path} is not one of PVT's: pass a PVT v1 ImageNet file")
        renamed[new] = tensor
    wanted = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("backbone.", "token_norm."))
    }
    wrong = [
        name for name, value in renamed.items() if name not in wanted or wanted[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not fit the backbone at {wrong[0]!r}: "
            "choose the PVT size that matches the configuration"
        )
    if not any(name.startswith("backbone.") for name in renamed):
        raise ValueError(f"{path} holds no parameter of PVT: pass a PVT v1 ImageNet file")
    model.load_state_dict(renamed, strict=False)
    return [name for name in wanted if name not in renamed]
