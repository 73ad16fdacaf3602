"""Pyramid Vision Transformer (PVT v1) with optional class tokens in every stage: the visual backbone
of MGHFT and its peers.

Knows nothing of text; hands the queries and keys of its blocks to local re-attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mghft.model.chunked_mlp import chunked_mlp, should_chunk
from mghft.model.config import PyramidConfig
from mghft.model.spatial_reduction import reduce_patches

BLOCK_NORM_EPS = 1e-6
PRETRAINED_SIDE = 224


class StageOutput(NamedTuple):
    """Tokens of one stage.

    Args:
        patches: [B, N, C].
        class_token: [B, C], None for a stage without one.
        queries_keys: (q [B, h, N', d], k [B, h, K', d]) of every block, first block first; no gradient. Empty
            for a stage without class token.
    """

    patches: Tensor
    class_token: Tensor | None
    queries_keys: list[tuple[Tensor, Tensor]]


class DropPath(nn.Module):
    """Residual addition that skips the branch for whole samples during training (Huang et al., ECCV 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Return x plus branch, both [B, ...]."""
        if not self.training or self.probability == 0.0:
            return x + branch
        share = self._draw(x) / (1.0 - self.probability)
        return torch.addcmul(x, branch, share.view(-1, *[1] * (x.ndim - 1)))

    def add(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x plus branch(x), [B, ...]; the branch maps every sample by itself, without dropout.

        A CPU computes the branch for the kept samples alone, which gives the same sums and gradients; a GPU
        would have to wait for their number.
        """
        skips = x.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (self.training and self.probability and skips):
            return cast(Tensor, self(x, branch(x)))
        kept = self._draw(x).nonzero().squeeze(1)
        alpha = 1.0 / (1.0 - self.probability)
        if len(kept) == len(x):
            return torch.add(x, branch(x), alpha=alpha)
        return x.index_add(0, kept, branch(x[kept]).to(x.dtype), alpha=alpha)

    def _draw(self, x: Tensor) -> Tensor:
        return x.new_empty(len(x)).bernoulli_(1.0 - self.probability)


class Mlp(nn.Module):
    """Linear, GELU, Linear, with dropout after both."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [..., C] to [..., C]."""
        if should_chunk(x, self.fc1.out_features) and not (self.training and self.dropout.p):
            return chunked_mlp(x, self.fc1.weight, self.fc1.bias, self.fc2.weight, self.fc2.bias)
        x = self.dropout(F.gelu(self.fc1(x)))
        out: Tensor = self.dropout(self.fc2(x))
        return out


class ReducedAttention(nn.Module):
    """Self-attention with spatially reduced keys and values (PVT, Wang et al., ICCV 2021, section 3.3).

    The reduction is a strided convolution; a class token in front passes by it and joins the reduced patches
    before their normalisation.
    """

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.ratio = ratio
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        if ratio > 1:
            self.reduction = nn.Conv2d(width, width, kernel_size=ratio, stride=ratio)
            self.reduction_norm = nn.LayerNorm(width)

    def reduce(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the tokens that keys and values are made of: [B, N', C] -> [B, K', C]."""
        extra = x.shape[1] - grid[0] * grid[1]
        reduced = reduce_patches(x[:, extra:], self.reduction, grid)
        if extra:
            reduced = torch.cat([x[:, :extra], reduced], dim=1)
        normalised: Tensor = self.reduction_norm(reduced)
        return normalised

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Let every token attend to the reduced ones.

        Args:
            x: [B, N', C], patches behind the class token if there is one.
            grid: rows and columns of the patches.

        Returns:
            [B, N', C], and detached queries [B, h, N', d] and keys [B, h, K', d].
        """
        batch, tokens, width = x.shape
        q = self.query(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
        source = self.reduce(x, grid) if self.ratio > 1 else x
        k, v = (
            self.key_value(source)
            .view(batch, source.shape[1], 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out = self.output(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out, (q.detach(), k.detach())


class Block(nn.Module):
    """Pre-norm attention and pre-norm MLP, each a residual branch."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, sr_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=BLOCK_NORM_EPS)
        self.attention = ReducedAttention(width, heads, sr_ratio)
        self.mlp_norm = nn.LayerNorm(width, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(width, width * mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return tokens [B, N', C] and the attention's queries and keys, as `ReducedAttention.forward`."""
        mixed, queries_keys = self.attention(self.attention_norm(x), grid)
        x = self.drop_path(x, mixed)
        return self.drop_path.add(x, lambda kept: self.mlp(self.mlp_norm(kept))), queries_keys


class Stage(nn.Module):
    """Patch embedding, class token, position embedding and blocks of one resolution.

    The last stage's position embedding has an entry for the class token; elsewhere it shares patch 0's.
    """

    def __init__(self, config: PyramidConfig, index: int) -> None:
        super().__init__()
        width = config.embed_dims[index]
        stride = 4 if index == 0 else 2
        self.is_last = index == 3
        self.has_class_token = config.class_token_stages[index]
        self.side = PRETRAINED_SIDE // (4 * 2**index)
        self.patch_projection = nn.Conv2d(
            3 if index == 0 else config.embed_dims[index - 1], width, kernel_size=stride, stride=stride
        )
        self.patch_norm = nn.LayerNorm(width)
        if self.has_class_token:
            self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, self.side**2 + self.is_last, width))
        first_block = sum(config.depths[:index])
        last = max(sum(config.depths) - 1, 1)
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.num_heads[index],
                config.mlp_ratios[index],
                config.sr_ratios[index],
                drop_path=config.drop_path * (first_block + block) / last,
            )
            for block in range(config.depths[index])
        )

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the position embedding, resized bilinearly to a grid of patches: [1, N', C]."""
        patches = self.position_embedding[:, 1:] if self.is_last else self.position_embedding
        if grid != (self.side, self.side):
            width = patches.shape[-1]
            square = patches.reshape(1, self.side, self.side, width).permute(0, 3, 1, 2)
            resized = F.interpolate(square, size=grid, mode="bilinear", align_corners=False)
            patches = resized.flatten(2).transpose(1, 2)
        if self.has_class_token:
            patches = torch.cat([self.position_embedding[:, :1], patches], dim=1)
        return patches

    def forward(self, image: Tensor) -> tuple[StageOutput, Tensor]:
        """Return the stage's tokens, and its patches as the next stage's image.

        Args:
            image: [B, C_in, H, W].

        Returns:
            The tokens, and [B, C, H/stride, W/stride].
        """
        x = self.patch_projection(image)
        batch, width, rows, columns = x.shape
        grid = (rows, columns)
        x = self.patch_norm(x.flatten(2).transpose(1, 2))
        if self.has_class_token:
            x = torch.cat([self.class_token.expand(batch, -1, -1).to(x.dtype), x], dim=1)
        x = x + self.positions(grid)
        queries_keys = []
        for block in self.blocks:
            x, block_queries_keys = block(x, grid)
            queries_keys.append(block_queries_keys)
        if not self.has_class_token:
            queries_keys.clear()
        patches = x[:, 1:] if self.has_class_token else x
        class_token = x[:, 0] if self.has_class_token else None
        as_image = patches.transpose(1, 2).reshape(batch, width, rows, columns)
        return StageOutput(patches, class_token, queries_keys), as_image


class PyramidVisionTransformer(nn.Module):
    """The four stages of PVT v1 (Wang et al., ICCV 2021)."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Stage(config, index) for index in range(4))

    def forward(
        self, image: Tensor, before: Sequence[Callable[[Tensor], Tensor]] | None = None
    ) -> list[StageOutput]:
        """Return the tokens of all four stages, first stage first.

        Args:
            image: [B, 3, H, W].
            before: of each stage, what its input [B, C, H, W] goes through; None changes nothing.
        """
        outputs = []
        for index, stage in enumerate(self.stages):
            if before is not None:
                image = before[index](image)
            output, image = stage(image)
            outputs.append(output)
        return outputs
