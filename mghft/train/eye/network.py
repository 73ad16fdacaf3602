"""The network that is pretrained: MGHFT without text, four heads that are thrown away, and its start."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.pvt import Stage, StageOutput
from mghft.pipeline.settings import read_settings
from mghft.train.config import RECIPES_FOLDER

IMAGE_SIZE = 32
SMOOTHING = 0.1
LAST_STAGE_WEIGHT = 0.5


def eye_config() -> MGHFTConfig:
    """Return the network of the recipe cpu without text, for images of 32 pixels."""
    fields: dict[str, Any] = read_settings(RECIPES_FOLDER / "cpu.yaml")["model"]
    preset = fields.pop("preset", "default")
    return MGHFTConfig.preset(
        preset, **{**fields, "image_size": IMAGE_SIZE, "use_text": False, "num_classes": 1}
    )


class Heads(nn.Module):
    """What is asked of one vector: which emoji it is, and where its words lie in the text encoder's space."""

    def __init__(self, width: int, identities: int, text_width: int) -> None:
        super().__init__()
        self.identity = nn.Linear(width, identities)
        self.text = nn.Linear(width, text_width)
        # As CLIP learns its temperature, from 14.
        self.log_scale = nn.Parameter(torch.tensor(math.log(14.0)))

    def forward(self, vectors: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of vectors [B, width] with words [n, text_width] of all identities, labels [B]."""
        cosines = F.normalize(self.text(vectors), dim=1) @ words.T
        by_text = F.cross_entropy(cosines * self.log_scale.exp(), labels, label_smoothing=SMOOTHING)
        return F.cross_entropy(self.identity(vectors), labels, label_smoothing=SMOOTHING) + by_text


class Eye(nn.Module):
    """MGHFT with heads on its fused vector and on the last stage of its backbone."""

    def __init__(self, config: MGHFTConfig, identities: int, text_width: int) -> None:
        super().__init__()
        self.mghft = MGHFT(config)
        self.mghft.head = nn.Identity()  # type: ignore[assignment]
        width = 2 * config.embed_dims[3]
        self.last_norm = nn.LayerNorm(width)
        self.fused_heads = Heads(config.hidden_dim, identities, text_width)
        self.last_heads = Heads(width, identities, text_width)
        self._last: StageOutput | None = None
        self.mghft.backbone.register_forward_hook(self._keep_last)

    def _keep_last(self, _module: nn.Module, _inputs: Any, stages: list[StageOutput]) -> None:
        self._last = stages[3]

    def vectors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return of images [B, 3, H, W] the fused vector [B, hidden_dim] and the last stage's [B, 2 * C]."""
        fused = self.mghft(images).logits
        assert self._last is not None and self._last.class_token is not None
        last = torch.cat([self._last.class_token, self._last.patches.mean(1)], 1)
        return fused, self.last_norm(last)

    def forward(self, images: Tensor, words: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; `words` and `labels` as for `Heads.forward`."""
        fused, last = self.vectors(images)
        by_fused: Tensor = self.fused_heads(fused, words, labels)
        by_last: Tensor = self.last_heads(last, words, labels)
        return by_fused + LAST_STAGE_WEIGHT * by_last

    def identities(self, images: Tensor) -> Tensor:
        """Return which emoji the two heads together name: int64 [B]."""
        fused, last = self.vectors(images)
        both: Tensor = self.fused_heads.identity(fused).softmax(1) + self.last_heads.identity(last).softmax(1)
        return both.argmax(1)


@torch.no_grad()
def start(eye: Eye, inputs: Tensor) -> None:
    """Give the backbone a start from which it learns: with the default one, small towers stall.

    Linear layers get a spread that keeps their input's, the first convolution the whitened principal
    components of the training patches, positions 2-D sines.

    Args:
        inputs: training pictures as the network reads them, [N, 3, S, S].
    """
    for module in eye.mghft.backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.8 / math.sqrt(module.in_features))
    stages: list[Stage] = [stage for stage in eye.mghft.backbone.stages if isinstance(stage, Stage)]
    first = stages[0].patch_projection
    first.weight.copy_(_whitened(inputs, first.weight))
    assert first.bias is not None
    first.bias.zero_()
    for stage in stages:
        places = 0.5 * _sines(stage.side, stage.position_embedding.shape[-1])
        stage.position_embedding[0, int(stage.is_last) :] = places
        # The slot that the class token reads, which stages 1 to 3 share with patch 0.
        stage.position_embedding[0, 0] = 0


def _whitened(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return filters shaped like `weight` [C, 3, p, p]: the first C principal components, whitened."""
    width, side = weight.shape[0], weight.shape[-1]
    patches = F.unfold(inputs, side, stride=side).transpose(1, 2).reshape(-1, weight[0].numel())
    patches = patches[patches.abs().amax(1) > 1e-3].double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    values, vectors = values.flip(0)[:width], vectors.flip(1)[:, :width]
    # The floor keeps components of almost no variance from being blown up into noise.
    whitened = vectors / (values + 0.01 * values.mean()).sqrt()
    filters = torch.zeros(width, weight[0].numel(), dtype=torch.float64)
    filters[: whitened.shape[1]] = whitened.T
    return filters.reshape(weight.shape).to(weight.dtype)


def _sines(side: int, width: int) -> Tensor:
    """Return 2-D sines and cosines, [side * side, width]; every grid spans the same range of 7."""
    count = width // 4
    rates = torch.exp(torch.arange(count) * (-math.log(100.0) / count))
    angles = (torch.arange(side) * (7 / side))[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], 2).reshape(side * side, width)
