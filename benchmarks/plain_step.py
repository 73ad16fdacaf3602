"""The model as the formulas have it, in plain torch: what the fast one is compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "model" / "support"))
from slow_reference import Layers, reference

from mghft.model import MGHFT


class PlainLayers(Layers):
    """The reference's layers by torch's own functions, with drop path; fusion dropout is left out."""

    def __init__(self, model: MGHFT) -> None:
        super().__init__(model)
        self.training = model.training
        self.drop_path = {
            f"backbone.stages.{stage}.blocks.{number}": block.drop_path.probability
            for stage, part in enumerate(model.backbone.stages)
            for number, block in enumerate(part.blocks)
        }

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], eps
        )

    def patchify(self, name: str, image: Tensor) -> Tensor:
        kernel = self.weights[f"{name}.weight"]
        made = F.conv2d(image, kernel, self.weights[f"{name}.bias"], stride=kernel.shape[-1])
        return made.permute(0, 2, 3, 1)

    def mlp(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.fc2", F.gelu(self.linear(f"{name}.fc1", x)))

    def residual(self, name: str, x: Tensor, branch: Tensor) -> Tensor:
        if not self.training:
            return x + branch
        keep = 1.0 - self.drop_path[name]
        return x + branch * x.new_empty(len(x), 1, 1).bernoulli_(keep) / keep


def plain_logits(model: MGHFT, image: Tensor, features: Tensor) -> Tensor:
    """Return the logits of a prediction."""
    return reference(model, image, features, layers=PlainLayers(model)).logits


def plain_loss(model: MGHFT, image: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a step: every map, every product of maps, every token through every layer."""
    loss = reference(model, image, features, labels=labels, layers=PlainLayers(model)).loss
    assert loss is not None
    return loss
