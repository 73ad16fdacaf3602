"""Parameter names of others: the released MGHFT code's, PVT's own and those of PVT in `transformers`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

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


def pvt_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of PVT in `transformers` under PVT's own names; any other state dict unchanged.

    `transformers` splits what PVT keeps as one: keys and values are joined again, keys first.
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
