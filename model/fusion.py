"""The three fusions of MGHFT: local soft fusion, global soft fusion and text-guided fusion attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.config import MGHFTConfig
from model.pvt import BLOCK_NORM_EPS, Mlp


def local_soft_fusion(parts: Tensor, text: Tensor) -> Tensor:
    """Adds a stage's text token to its local tokens.

    Published as parts + softmax(parts · Tᵀ) · T with T the same text token repeated; all keys being equal,
    every softmax row sums the same vector with weights that sum to one.

    Args:
        parts: [B, n, C]
        text: [B, C]
    """
    return parts + text.unsqueeze(1)


def global_soft_fusion(global_tokens: Tensor, text: Tensor) -> Tensor:
    """G + softmax(G Tᵀ) T without scaling; [B, g, D] and [B, t, D] -> [B, g, D]."""
    return global_tokens + (global_tokens @ text.transpose(1, 2)).softmax(dim=-1) @ text


class GuidedAttention(nn.Module):
    """Token 0 asks the text, and what it hears asks the image; q, k and v are shared by text and image."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        asking = self.split(self.query(image[:, :1]))
        if text is not None:
            asking = F.scaled_dot_product_attention(
                asking, self.split(self.key(text)), self.split(self.value(text))
            )
        heard = F.scaled_dot_product_attention(
            asking, self.split(self.key(image)), self.split(self.value(image))
        )
        out: Tensor = self.output(heard.transpose(1, 2).flatten(2))
        return out


class TextGuidedFusion(nn.Module):
    """The fusion block, evaluated for token 0 alone: the only one the classifier reads."""

    def __init__(self, config: MGHFTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.attention = GuidedAttention(config.hidden_dim, config.fusion_heads)
        self.mlp_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(config.hidden_dim, config.fusion_mlp_dim, config.fusion_dropout)

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        """Image tokens [B, n, H], text tokens [B, t, H] or None (plain attention) -> token 0 [B, H]."""
        x: Tensor = image[:, :1] + self.attention(self.attention_norm(image), text)
        x = x + self.mlp(self.mlp_norm(x))
        return x.squeeze(1)
