"""The three fusions of MGHFT: local soft fusion, global soft fusion and text-guided fusion attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mghft.model.config import MGHFTConfig
from mghft.model.pvt import BLOCK_NORM_EPS, Mlp


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
    """Token 0 asks the text, and what it hears asks the image; q, k and v are shared by text and image.

    With a single query per head it is cheaper to carry the query through the key projection, and the mixed
    tokens through the value projection, than to project every token: only the order of the products changes.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def ask(self, image: Tensor) -> Tensor:
        """The query of token 0 for every head: [B, n, H] -> [B, h, d]."""
        asking: Tensor = self.query(image[:, 0]).view(len(image), self.heads, -1)
        return asking

    def weigh(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """Attention of one query per head, [B, h, d], to tokens [B, n, H]: weights [B, h, n]."""
        key = self.key.weight.view(self.heads, -1, self.key.in_features)
        asking = asking / math.sqrt(asking.shape[-1])
        # The key bias moves all scores of a head alike and so changes nothing, as in the plain form.
        shift = torch.einsum("bhd,hd->bh", asking, self.key.bias.view(self.heads, -1)).unsqueeze(-1)
        scores = torch.einsum("bhd,hdw->bhw", asking, key) @ tokens.transpose(1, 2) + shift
        return scores.softmax(dim=-1)

    def hear(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """What one query per head, [B, h, d], gets from tokens [B, n, H] -> [B, h, d]."""
        value = self.value.weight.view(self.heads, -1, self.value.in_features)
        mixed = self.weigh(asking, tokens) @ tokens
        heard: Tensor = torch.einsum("bhw,hdw->bhd", mixed, value) + self.value.bias.view(self.heads, -1)
        return heard

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        """Image tokens [B, n, H], text tokens [B, t, H] or None -> the addition to token 0 [B, H]."""
        asking = self.ask(image)
        if text is not None:
            asking = self.hear(asking, text)
        out: Tensor = self.output(self.hear(asking, image).flatten(1))
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
        x: Tensor = image[:, 0] + self.attention(self.attention_norm(image), text)
        added: Tensor = self.mlp(self.mlp_norm(x))
        return x + added
