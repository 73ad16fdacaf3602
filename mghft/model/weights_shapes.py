"""Shapes of weights made elsewhere: the backbone that they are of, and whether that is what is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

# Depths of the published PVT v1 models; widths, heads and ratios are the same in all of them.
PVT_DEPTHS: dict[str, tuple[int, int, int, int]] = {
    "tiny": (2, 2, 2, 2),
    "small": (3, 4, 6, 3),
    "medium": (3, 4, 18, 3),
    "large": (3, 8, 27, 3),
}
PVT_WIDTHS = (64, 128, 320, 512)


def pvt_size(depths: Sequence[int], widths: Sequence[int]) -> str:
    """Return the name of a published size, such as "PVT-small", or the numbers where they have no name."""
    for name, known in PVT_DEPTHS.items():
        if tuple(depths) == known and tuple(widths) == PVT_WIDTHS:
            return f"PVT-{name}"
    return f"a PVT of depths {tuple(depths)} and widths {tuple(widths)}"


class NoBackboneError(ValueError):
    """Names that are not those of a PVT backbone."""


def backbone_fields(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of the configuration that the backbone's shapes tell."""
    widths, depths, mlp_ratios, sr_ratios = [], [], [], []
    for stage in range(4):
        start = f"backbone.stages.{stage}"
        patch = tensors.get(f"{start}.patch_projection.weight")
        blocks = [
            int(match[1])
            for name in tensors
            if (match := re.match(rf"{re.escape(start)}\.blocks\.(\d+)\.", name)) is not None
        ]
        hidden = tensors.get(f"{start}.blocks.0.mlp.fc1.weight")
        if patch is None or hidden is None:
            raise NoBackboneError(start)
        reduction = tensors.get(f"{start}.blocks.0.attention.reduction.weight")
        widths.append(patch.shape[0])
        depths.append(len(set(blocks)))
        mlp_ratios.append(hidden.shape[0] // max(patch.shape[0], 1))
        sr_ratios.append(1 if reduction is None else reduction.shape[-1])
    return {
        "embed_dims": tuple(widths),
        "depths": tuple(depths),
        "mlp_ratios": tuple(mlp_ratios),
        "sr_ratios": tuple(sr_ratios),
    }


def contradiction(path: Path, fields: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Refuse a wanted field that a file contradicts.

    Args:
        fields: that the file tells.
        what: the file is of.

    Raises:
        ValueError: one does; the message names it.
    """
    for field, value in wanted.items():
        if field in fields and fields[field] != value:
            raise ValueError(
                f"{path} has {field} {fields[field]}, not {value} (it is {what}): "
                "leave the option out or choose another file"
            )
