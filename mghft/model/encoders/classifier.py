"""An image encoder with a linear head, all of it to be trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from mghft.model.encoders.image_text import ImageTextEncoder

_LAYER = re.compile(r"\.(?:layers|layer|blocks|h)\.(\d+)\.")
# What these families call their way into the first layer.
_FIRST = ("embed", "patch", "query_tokens", "pre_layrnorm", "pre_layernorm")


class EncoderClassifier(nn.Module):
    """An encoder's vectors before the projection, and a linear head on them.

    Args:
        encoder: whose weights are trained from here on.
        classes: number of labels.
    """

    def __init__(self, encoder: ImageTextEncoder, classes: int, width: int) -> None:
        super().__init__()
        self.family = encoder.family
        # In float32, whatever the file is in: small steps vanish in half precision.
        self.encoder = encoder.family.model.float().requires_grad_(True)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [B, classes] of pixels as the encoder's own processor makes them."""
        logits: Tensor = self.head(self.family.features(pixels))
        return logits

    def groups(self, *, lr: float, head_lr: float, layer_decay: float) -> Iterator[dict[str, Any]]:
        """Yield parameter groups whose learning rate falls towards the first layer (Bao et al., ICLR 2022).

        Layer l of L has lr · layer_decay^(L - l), what comes before the first layer one power more, what
        comes after the last one lr itself.
        """
        named = list(self.encoder.named_parameters())
        numbers = [int(found[1]) for name, _ in named if (found := _LAYER.search(f".{name}"))]
        count = max(numbers, default=-1) + 1
        by_depth: dict[int, list[nn.Parameter]] = {}
        for name, parameter in named:
            found = _LAYER.search(f".{name}")
            first = any(word in name for word in _FIRST)
            depth = int(found[1]) + 1 if found else 0 if first else count + 1
            by_depth.setdefault(depth, []).append(parameter)
        for depth, parameters in sorted(by_depth.items()):
            yield {"params": parameters, "lr": lr * layer_decay ** (count + 1 - depth)}
        yield {"params": list(self.head.parameters()), "lr": head_lr}
