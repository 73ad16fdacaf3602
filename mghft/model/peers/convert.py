"""Checkpoints of the released LORA and TGCA-PVT code, put into `PeerNetwork`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mghft.model.peers.config import WITH_TEXT, PeerConfig
from mghft.model.peers.names import convert_peer, is_never_read, released_network
from mghft.model.peers.network import NETWORK_NAMES, PeerNetwork
from mghft.model.pvt_shapes import backbone_fields, check_wanted, pvt_size
from mghft.model.state_dict_keys import TEXT_PREFIX, VISION_PREFIX

# Positions of the text in the released code.
TEXT_LENGTH = 30
_NEEDED = ("head.weight", "v_proj.weight", "fusion_model.ffn.fc1.weight", "pos_embed")


class ReleasedPeer(NamedTuple):
    """A network with a released checkpoint in it; fields as of `convert.Conversion`."""

    model: PeerNetwork
    kind: str
    used: list[str]
    missing: list[str]
    left_over: list[str]
    text_encoder: dict[str, Tensor]


def build_released_peer(
    path: Path, tensors: Mapping[str, Tensor], options: Mapping[str, Any], wanted: dict[str, Any], seed: int
) -> ReleasedPeer:
    """Build the network that a released checkpoint's names and shapes ask for, and fill it.

    Args:
        path: of the file, for messages.
        tensors: under the released names.
        options: of the training, where the file has them.
        wanted: fields of `PeerConfig`; one that contradicts the file is refused.
        seed: of a new network, all of which the file replaces.

    Raises:
        NoBackboneError: it has no PVT backbone.
        ValueError: it is not whole, of other dimensions, has a foreign parameter, or is not what is wanted.
    """
    local = (*(f"{VISION_PREFIX}cls_token{stage}" in tensors for stage in (1, 2, 3)), True)
    renamed, encoder = convert_peer(tensors, local=local)
    fields = _fields(path, tensors, renamed, local)
    if isinstance(side := options.get("input_size"), int) and "image_size" not in wanted:
        fields["image_size"] = side
    size = pvt_size(fields["depths"], fields["embed_dims"])
    check_wanted(path, fields, wanted, size)
    config = PeerConfig(**{**fields, **wanted})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PeerNetwork(config).eval()
    _fill(model, renamed, path)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(TEXT_PREFIX)}
    unread = [name for name, tensor in own.items() if is_never_read(name, tensor, local=local)]
    used = [name for name in own if name not in set(unread)]
    kind = f"released {NETWORK_NAMES[config.network]} checkpoint on {size}"
    return ReleasedPeer(model, kind, used, [], unread, encoder)


def _fields(
    path: Path, tensors: Mapping[str, Tensor], renamed: Mapping[str, Tensor], local: tuple[bool, ...]
) -> dict[str, Any]:
    """Return the fields of the configuration that names and shapes tell."""
    network = released_network(tensors)
    known = {name: tensor for name, tensor in renamed.items() if name.startswith("backbone.")}
    fields: dict[str, Any] = {"network": network, **backbone_fields(known)}
    needed = (*_NEEDED, "l_proj.weight") if network in WITH_TEXT else _NEEDED
    if lacking := [name for name in needed if name not in tensors]:
        raise ValueError(f"{path} lacks {lacking[0]!r}: pass a whole checkpoint of the released code")
    fields |= {
        "num_classes": tensors["head.weight"].shape[0],
        "hidden_dim": tensors["v_proj.weight"].shape[0],
        "fusion_mlp_dim": tensors["fusion_model.ffn.fc1.weight"].shape[0],
        "local_stages": (*local[:3], f"{VISION_PREFIX}local_proj4.0.weight" in tensors),
    }
    text = TEXT_LENGTH if network in WITH_TEXT else 0
    if text:
        fields["text_dim"] = tensors["l_proj.weight"].shape[-1]
    of_alpha_1 = PeerConfig(**fields, alpha=1).backbone()
    tokens = tensors["pos_embed"].shape[1] if tensors["pos_embed"].ndim == 3 else 0
    alpha, rest = divmod(
        tokens - text - sum(of_alpha_1.class_token_stages), sum(of_alpha_1.local_token_counts)
    )
    if rest or alpha < 1:
        raise ValueError(
            f"{path} has a pos_embed of {tokens} tokens, which fits no alpha: "
            "pass a checkpoint of the released code"
        )
    return {**fields, "alpha": alpha}


def _fill(model: PeerNetwork, tensors: Mapping[str, Tensor], path: Path) -> None:
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    wrong = [
        name for name, tensor in tensors.items() if name not in wanted or wanted[name].shape != tensor.shape
    ]
    if missing or wrong:
        raise ValueError(
            f"{path} does not fit {model.config.network} at parameter {(missing + wrong)[0]!r}: "
            "pass a whole checkpoint of the released code"
        )
    model.load_state_dict(dict(tensors))
