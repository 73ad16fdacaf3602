"""The shipped weights of the eye: made of a pretrained network, and taken by a training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from mghft.model import MGHFT, load_pvt_weights
from mghft.model.config import PyramidConfig
from mghft.model.joint import Network
from mghft.model.state_dict_keys import pvt_name
from mghft.pipeline.corpora.emoji.augment import INK_STD
from mghft.pipeline.files import write_bytes, write_json

SHIPPED = "eye"
FOLDER = Path(__file__).resolve().parent / "checkpoint"
# What the weights ask of a network; numbers of heads leave no trace in the shapes.
SHAPE = ("embed_dims", "depths", "num_heads", "mlp_ratios", "sr_ratios")


def fold_normalisation(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first convolution for ImageNet-normalised pixels that does what the given one does with ink.

    Exact where patches do not overlap and nothing is padded: (x * s + m - 1) / .35 is linear in x.

    Args:
        weight, bias: [C, 3, p, p] and [C], for pixels (RGB - 1) / .35.

    Returns:
        [C, 3, p, p] and [C], for pixels (RGB - m) / s.
    """
    mean = torch.tensor(IMAGENET_DEFAULT_MEAN, dtype=weight.dtype).view(3, 1, 1)
    std = torch.tensor(IMAGENET_DEFAULT_STD, dtype=weight.dtype).view(3, 1, 1)
    return weight * std / INK_STD, bias + (weight * (mean - 1) / INK_STD).sum((1, 2, 3))


def export(model: MGHFT, folder: Path) -> Path:
    """Write the backbone in bf16 under PVT's names, its class tokens included, and the shape it needs.

    Args:
        model: as it was pretrained; its other parts are dropped.
        folder: gets model.safetensors and config.json.

    Returns:
        The file of the weights.
    """
    tensors = {
        name: tensor.detach()
        for name, tensor in model.state_dict().items()
        if name.startswith(("backbone.", "token_norm."))
    }
    first = "backbone.stages.0.patch_projection"
    weight, bias = tensors[f"{first}.weight"], tensors[f"{first}.bias"]
    # In float64, so that the only rounding is the one to bf16.
    tensors[f"{first}.weight"], tensors[f"{first}.bias"] = fold_normalisation(weight.double(), bias.double())
    renamed = {pvt_name(name): tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.model_dump(mode="json")
    write_json(folder / "config.json", {name: config[name] for name in ("image_size", *SHAPE)})
    write_bytes(folder / "model.safetensors", save(renamed, metadata={"format": "pt"}))
    return folder / "model.safetensors"


def load_first_weights(model: Network, source: str) -> None:
    """Initialise the backbone from `pvt_weights` of a training's configuration: "eye", or PVT's weights.

    Raises:
        FileNotFoundError: the file does not exist, or this installation lacks the shipped weights.
        ValueError: the weights do not fit the network; one sentence.
    """
    if source != SHIPPED:
        load_pvt_weights(model, source)
        return
    if not (FOLDER / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{FOLDER} has no model.safetensors: install the project with its data files, or make the "
            "weights with 'python -m mghft.train.eye.pretrain --out DIR' and set pvt_weights to DIR/eye"
        )
    check_shape(model.config)
    load_pvt_weights(model, FOLDER / "model.safetensors")


def check_shape(config: PyramidConfig) -> None:
    """Check that a network is of the shape of the shipped weights; its image size is left to the caller.

    Raises:
        ValueError: it is not; one sentence that names the field.
    """
    shape = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    for field in SHAPE:
        wanted, given = tuple(shape[field]), getattr(config, field)
        if given != wanted:
            raise ValueError(
                f"pvt_weights: the shipped eye needs model.{field} {list(wanted)}, as the recipe cpu has "
                f"it, and this network has {list(given)}: change that or choose other weights"
            )
