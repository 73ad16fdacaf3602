"""Other names of MGHFT's parameters: in earlier files, the released code, PVT, and PVT in `transformers`."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")

# Names of parameters in files of before, and what they are called now.
EARLIER_NAMES = {"missing_view": "missing_view_embedding"}
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
_TRANSFORMERS_BLOCK: dict[str, str] = {
    "layer_norm_1": "norm1",
    "layer_norm_2": "norm2",
    "attention.self.query": "attn.q",
    "attention.self.sequence_reduction": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}
_TRANSFORMERS_STAGE: dict[str, str] = {
    "position_embeddings": "pos_embed{}",
    "projection": "patch_embed{}.proj",
    "layer_norm": "patch_embed{}.norm",
}
_STAGE: dict[str, str] = {
    "cross_proj": "stage_text_projections.{}",
    "local_proj": "local_projections.{}",
    "global_proj": "global_projections.{}",
    "pos_embed": "backbone.stages.{}.position_embedding",
    "cls_token": "backbone.stages.{}.class_token",
    "patch_embed": "backbone.stages.{}.patch",
}


def rename_earlier(state: MutableMapping[str, Value], prefix: str = "") -> None:
    """Rename in place what an earlier version saved under another name; whatever reads our files calls it.

    Args:
        state: anything by parameter name.
        prefix: before MGHFT's own names, where it is part of a larger module.
    """
    for earlier, name in EARLIER_NAMES.items():
        # With both names in it, the earlier one is a stranger like any other.
        if prefix + earlier in state and prefix + name not in state:
            state[prefix + name] = state.pop(prefix + earlier)


def mghft_name(official: str) -> str | None:
    """Return MGHFT's name of a parameter of the released code or of PVT; None if it has no counterpart."""
    name = official.removeprefix(VISION_PREFIX)
    if official == name:
        for start, renamed in _TOP.items():
            if name == start or name.startswith(start + "."):
                return renamed + name[len(start) :]
    if name == "cls_token":
        return "backbone.stages.3.class_token"
    if name.startswith("norm."):
        return "token_norm" + name.removeprefix("norm")
    if match := re.fullmatch(r"block([1-4])\.(\d+)\.(.+)", name):
        stage, block, rest = match.groups()
        for start, renamed in _BLOCK.items():
            if rest.startswith(start + "."):
                return f"backbone.stages.{int(stage) - 1}.blocks.{block}.{renamed}{rest[len(start) :]}"
    if match := re.fullmatch(r"([a-z_]+)([1-4])(\..+)?", name):
        start, stage, rest = match.group(1), match.group(2), match.group(3) or ""
        if start in _STAGE:
            renamed = _STAGE[start].format(int(stage) - 1)
            if start == "patch_embed":
                return renamed + rest.replace(".proj.", "_projection.").replace(".norm.", "_norm.")
            return renamed + rest
    return None


def pvt_name(name: str) -> str:
    """Return PVT's name of a parameter of MGHFT's backbone, as `mghft_name` reads it.

    Class tokens of stages 1–3, which PVT does not have, are named as the released code names them.

    Raises:
        ValueError: the parameter is none of the backbone's.
    """
    if name.startswith("token_norm."):
        return name.removeprefix("token_")
    if (match := re.fullmatch(r"backbone\.stages\.([0-3])\.(\w+)(?:\.(.+))?", name)) is not None:
        stage, part, rest = int(match[1]) + 1, match[2], match[3]
        if part == "class_token":
            return "cls_token" if stage == 4 else f"cls_token{stage}"
        if part == "position_embedding":
            return f"pos_embed{stage}"
        if part in ("patch_projection", "patch_norm"):
            return f"patch_embed{stage}.{'proj' if part == 'patch_projection' else 'norm'}.{rest}"
        if part == "blocks":
            block, _, inside = rest.partition(".")
            for theirs, ours in _BLOCK.items():
                if inside.startswith(ours + "."):
                    return f"block{stage}.{block}.{theirs}{inside[len(ours) :]}"
    raise ValueError(f"parameter {name!r} is none of the backbone's")


def convert_official(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a released state dict into MGHFT's parameters and the text encoder's, under BERT's names.

    Raises:
        ValueError: a parameter belongs to neither.
    """
    tensors: dict[str, Tensor] = {}
    encoder: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(TEXT_PREFIX):
            encoder[name.removeprefix(TEXT_PREFIX)] = tensor
        elif (renamed := mghft_name(name)) is not None:
            tensors[renamed] = tensor
        elif not UNUSED.fullmatch(name):
            raise ValueError(
                f"parameter {name!r} is not one of MGHFT's: pass a checkpoint of the released code"
            )
    return tensors, encoder


def to_pvt_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of PVT in `transformers` under PVT's own names; any other state dict unchanged.

    `transformers` splits what PVT keeps as one: keys and values are joined again, keys first.

    Raises:
        ValueError: a parameter is not one of PVT's, or a key has no value beside it.
    """
    if not any(name.removeprefix("pvt.").startswith("encoder.patch_embeddings.") for name in state):
        return dict(state)
    renamed: dict[str, Tensor] = {}
    for full, tensor in state.items():
        name = full.removeprefix("pvt.").removeprefix("encoder.")
        if match := re.fullmatch(r"block\.([0-3])\.(\d+)\.(.+)\.(weight|bias)", name):
            stage, block, part, kind = match.groups()
            start = f"block{int(stage) + 1}.{block}"
            if part in _TRANSFORMERS_BLOCK:
                renamed[f"{start}.{_TRANSFORMERS_BLOCK[part]}.{kind}"] = tensor
                continue
            if part == "attention.self.key":
                values = state.get(full.replace(".key.", ".value."))
                if values is None:
                    raise ValueError(f"parameter {full!r} has no values beside it: the file is not whole")
                renamed[f"{start}.attn.kv.{kind}"] = torch.cat([tensor, values])
                continue
            if part == "attention.self.value":
                continue
        elif match := re.fullmatch(r"patch_embeddings\.([0-3])\.(\w+)(\.\w+)?", name):
            stage, part, rest = match.group(1), match.group(2), match.group(3) or ""
            if part == "cls_token" and stage == "3":
                renamed["cls_token"] = tensor
                continue
            if part in _TRANSFORMERS_STAGE:
                renamed[_TRANSFORMERS_STAGE[part].format(int(stage) + 1) + rest] = tensor
                continue
        elif name.startswith("layer_norm."):
            renamed[name.replace("layer_norm.", "norm.")] = tensor
            continue
        elif name.startswith("classifier."):
            renamed[name.replace("classifier.", "head.")] = tensor
            continue
        raise ValueError(f"parameter {full!r} is not one of PVT's: pass a PVT v1 ImageNet file")
    return renamed
