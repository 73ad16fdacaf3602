"""Weights made elsewhere, put into MGHFT or its peers: checkpoints of the released codes and PVT's files.

PVT comes as its authors' file or under the names of `transformers`. `checkpoint_files` reads the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mghft.model.checkpoint_files import find_nonfinite, read_checkpoint, read_weights
from mghft.model.config import MGHFTConfig
from mghft.model.hub import HubModel
from mghft.model.mghft import MGHFT
from mghft.model.peers.base import Peer
from mghft.model.peers.build import build_network
from mghft.model.peers.config import NETWORKS, TITLES, PeerConfig
from mghft.model.peers.convert import build_released
from mghft.model.peers.official_names import released_network
from mghft.model.state_dict_keys import TEXT_PREFIX, VISION_PREFIX, convert_official, mghft_name, to_pvt_names
from mghft.model.weights_shapes import NoBackboneError, backbone_fields, contradiction, pvt_size

# What the released code does not have: it always has every view, and does not centre the text features.
NOT_RELEASED = frozenset({"missing_view_embedding", "text_mean", "text_scale"})
# Beside the names of the peers.
MGHFT_NETWORK = "mghft"
# What PVT does not have.
EARLY_CLASS_TOKENS = frozenset(f"backbone.stages.{stage}.class_token" for stage in range(3))


def load_official_checkpoint(model: MGHFT, path: str | Path) -> dict[str, Tensor]:
    """Load a released checkpoint into a model of its dimensions.

    Parameters that the released code does not have (stand-ins for missing views, statistics of text) keep
    their values.

    Returns:
        The text encoder's parameters, under BERT's names.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged, or of another architecture or other dimensions.
    """
    tensors, encoder = convert_official(read_weights(path))
    _load_released(model, tensors, path)
    return encoder


def load_pvt_weights(model: HubModel, path: str | Path) -> list[str]:
    """Initialise the backbone from ImageNet weights of PVT; the file's classifier is dropped.

    Args:
        model: whose backbone has the widths and depths of the file.
        path: PVT's own .pth, or a file, a folder or a Hugging Face id of PVT in `transformers`.

    Returns:
        Names that the file lacks: the class tokens of stages 1–3, which are MGHFT's own, where it has none.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged, no PVT, not whole, or of another size than the model's backbone.
    """
    return _load_pvt(model, to_pvt_names(read_weights(path)), path)


class Conversion(NamedTuple):
    """A model with weights made elsewhere, and what became of every tensor.

    Args:
        model: in evaluation mode; MGHFT or one of its peers.
        kind: what the file is, in words.
        used: names in the file.
        missing: the model's names that the file lacks.
        left_over: names in the file that the model has no place for, the text encoder not included.
        text_encoder: of a released checkpoint, under BERT's names.
    """

    model: MGHFT | Peer
    kind: str
    used: list[str]
    missing: list[str]
    left_over: list[str]
    text_encoder: dict[str, Tensor]


def convert_checkpoint(
    source: str | Path, *, seed: int = 0, network: str | None = None, **wanted: Any
) -> Conversion:
    """Build the model that a file's shapes ask for, and fill it.

    Depths, widths, ratios and, in a released checkpoint, local stages, alpha and classes are read off the
    file. Numbers of heads leave no trace in shapes: PVT's and the paper's are taken unless `wanted` tells.

    Args:
        source: as for `read_checkpoint`: a released checkpoint or PVT's weights.
        seed: of what the file lacks and a new model draws (only with PVT's weights).
        network: "mghft" or one of `mghft.model.peers.NETWORKS`; default: a released checkpoint's own, which
            its names tell, and MGHFT for PVT's weights.
        wanted: fields of `MGHFTConfig` or `PeerConfig`; one that contradicts the file is refused.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is damaged, of another architecture, not whole, or not what is wanted.
    """
    if network not in (None, MGHFT_NETWORK, *NETWORKS):
        raise ValueError(
            f"network is {network!r}: choose one of {', '.join((MGHFT_NETWORK, *NETWORKS))}, or leave it out"
        )
    path, tensors, options = read_checkpoint(source)
    if any(name.startswith("backbone.stages.") for name in tensors):
        raise ValueError(
            f"{path} has a saved MGHFT's names already: load its folder with MGHFT.from_pretrained "
            "(a peer's with mghft.model.peers.load_peer)"
        )
    if (name := find_nonfinite(tensors)) is not None:
        raise ValueError(f"{path} holds NaN or infinity in {name!r}: use a checkpoint of a sound training")
    try:
        if not any(name.startswith(VISION_PREFIX) for name in tensors):
            return _convert_pvt(path, tensors, network or MGHFT_NETWORK, wanted, seed)
        peer = released_network(tensors)
        if network not in (None, peer or MGHFT_NETWORK):
            raise ValueError(
                f"{path} is a released checkpoint of {TITLES[peer] if peer else 'MGHFT'}, not of "
                f"{network}: leave the network out or choose another file"
            )
        if peer is None:
            return _convert_released(path, tensors, options, wanted, seed)
        model, released = build_released(path, tensors, peer, options, wanted)
        used, missing, left_over = released.fill(model)
        size = pvt_size(model.config.depths, model.config.embed_dims)
        kind = f"released {released.title} checkpoint on {size}"
        return Conversion(model, kind, used, missing, left_over, released.encoder)
    except NoBackboneError:
        names = ", ".join(list(tensors)[:3])
        raise ValueError(
            f"{path} holds no weights of MGHFT or PVT (its first parameters are {names}): pass a checkpoint "
            "of the released code of MGHFT, LORA or TGCA-PVT, or a PVT v1 ImageNet file"
        ) from None


def _convert_released(
    path: Path, tensors: dict[str, Tensor], options: dict[str, Any], wanted: dict[str, Any], seed: int
) -> Conversion:
    renamed, encoder = convert_official(tensors)
    fields = {**backbone_fields(renamed), **_released_fields(renamed)}
    if isinstance(side := options.get("input_size"), int) and "image_size" not in wanted:
        fields["image_size"] = side
    model, size = _build(path, "official", fields, wanted, seed)
    missing = _load_released(model, renamed, path)
    if model.config.use_text:
        # A stand-in that was never learned: the neutral one, and the same in every conversion.
        torch.nn.init.zeros_(model.missing_view_embedding)
    places = {name: mghft_name(name) for name in tensors if not name.startswith(TEXT_PREFIX)}
    read = {name: place is not None and not _is_unread(place, model.config) for name, place in places.items()}
    used = [name for name, is_read in read.items() if is_read]
    left_over = [name for name, is_read in read.items() if not is_read]
    return Conversion(model, f"released MGHFT checkpoint on {size}", used, missing, left_over, encoder)


def _convert_pvt(
    path: Path, tensors: dict[str, Tensor], network: str, wanted: dict[str, Any], seed: int
) -> Conversion:
    pvt = to_pvt_names(tensors)
    fields = backbone_fields({new: pvt[name] for name in pvt if (new := mghft_name(name)) is not None})
    model: MGHFT | Peer
    if network == MGHFT_NETWORK:
        model, size = _build(path, "default", fields, wanted, seed)
    else:
        size = pvt_size(fields["depths"], fields["embed_dims"])
        contradiction(path, fields, wanted, size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_network(PeerConfig.preset("default", **{**fields, **wanted, "network": network}))
        model.eval()
    _load_pvt(model, pvt, path)
    filled = {mghft_name(name) for name in pvt if not name.startswith("head.")}
    missing = [name for name in model.state_dict() if name not in filled]
    classifier = ("head.", "classifier.")
    used = [name for name in tensors if not name.startswith(classifier)]
    left_over = [name for name in tensors if name.startswith(classifier)]
    return Conversion(model, f"{size}, ImageNet", used, missing, left_over, {})


def _build(
    path: Path, preset: str, fields: dict[str, Any], wanted: dict[str, Any], seed: int
) -> tuple[MGHFT, str]:
    """Build the model of the file's fields and the wanted ones; the name of its size beside it."""
    size = pvt_size(fields["depths"], fields["embed_dims"])
    contradiction(path, fields, wanted, size)
    config = MGHFTConfig.preset(preset, **{**fields, **wanted})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MGHFT(config).eval(), size


def _released_fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields that the rest of a released checkpoint tells."""
    names = (
        "head.weight",
        "view_projection.weight",
        "visual_projection.weight",
        "fusion.mlp.fc1.weight",
        "token_positions",
    )
    lacking = [name for name in names if name not in tensors]
    if lacking:
        raise ValueError(
            f"the checkpoint lacks {lacking[0]!r} (MGHFT's name of it): pass a whole checkpoint of the "
            "released code"
        )
    head, views, visual, mlp, positions = (tensors[name] for name in names)
    fields: dict[str, Any] = {
        "num_classes": head.shape[0],
        "text_dim": views.shape[-1],
        "hidden_dim": visual.shape[0],
        "fusion_mlp_dim": mlp.shape[0],
        "local_stages": (
            *(f"backbone.stages.{stage}.class_token" in tensors for stage in range(3)),
            "local_projections.3.0.weight" in tensors,
        ),
    }
    of_alpha_1 = MGHFTConfig.preset("official", **{**backbone_fields(tensors), **fields, "alpha": 1})
    alpha, rest = divmod(
        positions.shape[1] - sum(of_alpha_1.class_token_stages), sum(of_alpha_1.local_token_counts)
    )
    if rest or alpha < 1:
        raise ValueError(
            f"pos_embed of {positions.shape[1]} tokens fits no alpha: pass a checkpoint of the released code"
        )
    return {**fields, "alpha": alpha}


def _load_released(model: MGHFT, tensors: dict[str, Tensor], path: str | Path) -> list[str]:
    tensors = {name: tensor for name, tensor in tensors.items() if not _is_unread(name, model.config)}
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors and name not in NOT_RELEASED]
    wrong = [
        name for name, tensor in tensors.items() if name not in wanted or wanted[name].shape != tensor.shape
    ]
    if missing or wrong:
        raise ValueError(
            f"{path} does not fit this configuration at parameter {(missing + wrong)[0]!r}: "
            "set dimensions, local_stages, alpha and num_classes as in its training"
        )
    model.load_state_dict(tensors, strict=False)
    return [name for name in wanted if name not in tensors]


def _is_unread(name: str, config: MGHFTConfig) -> bool:
    """Return whether the released code creates this parameter and never reads it.

    It makes `cross_proj` for all four stages; one without a class token (a 0 in its `locals`) has no local
    tokens that a text could be fused with.
    """
    match = re.match(r"stage_text_projections\.([0-3])\.", name)
    return match is not None and not config.class_token_stages[int(match[1])]


def _load_pvt(model: HubModel, state: Mapping[str, Tensor], path: str | Path) -> list[str]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("head."):
            continue
        new = mghft_name(name)
        if new is None:
            raise ValueError(f"parameter {name!r} in {path} is not one of PVT's: pass a PVT v1 ImageNet file")
        renamed[new] = tensor
    try:
        fields = backbone_fields(renamed)
    except NoBackboneError:
        raise ValueError(f"{path} holds no whole PVT: pass a PVT v1 ImageNet file") from None
    config = model.config
    if (fields["depths"], fields["embed_dims"]) != (config.depths, config.embed_dims):
        raise ValueError(
            f"{path} holds {pvt_size(fields['depths'], fields['embed_dims'])} where the model has "
            f"{pvt_size(config.depths, config.embed_dims)}: "
            "choose the PVT size that matches the configuration"
        )
    wanted = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("backbone.", "token_norm."))
    }
    # A network without one of these tokens leaves the file's unread.
    renamed = {
        name: value for name, value in renamed.items() if name in wanted or name not in EARLY_CLASS_TOKENS
    }
    wrong = [
        name for name, value in renamed.items() if name not in wanted or wanted[name].shape != value.shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not fit the backbone at {wrong[0]!r}: "
            "choose the PVT size that matches the configuration"
        )
    if (broken := find_nonfinite(renamed)) is not None:
        raise ValueError(f"{path} holds NaN or infinity at {broken!r}: use another file")
    missing = [name for name in wanted if name not in renamed]
    lacking = [name for name in missing if name not in EARLY_CLASS_TOKENS]
    if lacking:
        raise ValueError(
            f"{path} lacks {len(lacking)} of the backbone's {len(wanted)} tensors (first {lacking[0]!r} in "
            "MGHFT's names): pass a whole PVT v1 ImageNet file"
        )
    model.load_state_dict(renamed, strict=False)
    return missing
