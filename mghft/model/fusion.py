"""The three fusions of MGHFT: local soft fusion, global soft fusion and text-guided fusion attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mghft.model.config import PyramidConfig
from mghft.model.pvt import BLOCK_NORM_EPS, Mlp


def local_soft_fusion(local_tokens: Tensor, text: Tensor) -> Tensor:
    """Add a stage's text token to its local tokens: local soft fusion (MGHFT, ACM MM 2025, section 3).

    Published as L + softmax(L Tᵀ) T with T the same text token repeated; all keys being equal, every softmax
    row sums the same vector with weights that sum to one.

    Args:
        local_tokens: [B, n, C].
        text: [B, C], the view of the stage.

    Returns:
        [B, n, C].
    """
    return local_tokens + text.unsqueeze(1)


def global_soft_fusion(global_tokens: Tensor, text: Tensor) -> Tensor:
    """Add to every global token the views that resemble it: G + softmax(G Tᵀ) T (MGHFT, section 3).

    The similarities are not scaled, as published.

    Args:
        global_tokens: [B, g, D].
        text: [B, t, D], the views of all stages.

    Returns:
        [B, g, D].
    """
    return global_tokens + (global_tokens @ text.transpose(1, 2)).softmax(dim=-1) @ text


class GuidedAttention(nn.Module):
    """Two attention steps for token 0: to the text, then with what that gave to the image (MGHFT, section 3).

    Both steps share one set of projections. With a single query per head it is cheaper to carry the query
    through the key projection, and the mixed tokens through the value projection, than to project every
    token: only the order of the products changes.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def project_query(self, image: Tensor) -> Tensor:
        """Return the query of token 0 for every head: [B, n, H] -> [B, h, d]."""
        query: Tensor = self.query(image[:, 0]).view(image.shape[0], self.heads, -1)
        return query

    def attention_weights(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return the softmax weights of one query per head [B, h, d] over tokens [B, n, H]: [B, h, n]."""
        key = self.key.weight.view(self.heads, -1, self.key.in_features)
        query = query / math.sqrt(query.shape[-1])
        # The key bias moves all scores of a head alike and so changes nothing, as in the plain form.
        shift = torch.einsum("bhd,hd->bh", query, self.key.bias.view(self.heads, -1)).unsqueeze(-1)
        scores = torch.einsum("bhd,hdw->bhw", query, key) @ tokens.transpose(1, 2) + shift
        return scores.softmax(dim=-1)

    def attend(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Return the values of tokens [B, n, H] mixed for one query per head: [B, h, d] -> [B, h, d]."""
        value = self.value.weight.view(self.heads, -1, self.value.in_features)
        mixed = self.attention_weights(query, tokens) @ tokens
        attended: Tensor = torch.einsum("bhw,hdw->bhd", mixed, value) + self.value.bias.view(self.heads, -1)
        return attended

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        """Return what is added to token 0.

        Args:
            image: [B, n, H] visual tokens.
            text: [B, t, H] text tokens, None for plain attention to the image.

        Returns:
            [B, H].
        """
        query = self.project_query(image)
        if text is not None:
            query = self.attend(query, text)
        out: Tensor = self.output(self.attend(query, image).flatten(1))
        return out


class TextGuidedFusion(nn.Module):
    """The fusion block (MGHFT, section 3), evaluated for token 0 alone: the only one the classifier reads."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.attention = GuidedAttention(config.hidden_dim, config.fusion_heads)
        self.mlp_norm = nn.LayerNorm(config.hidden_dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(config.hidden_dim, config.fusion_mlp_dim, config.fusion_dropout)

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        """Return token 0 after the block.

        Args:
            image: [B, n, H] visual tokens.
            text: [B, t, H] text tokens, None for plain attention to the image.

        Returns:
            [B, H].
        """
        x: Tensor = image[:, 0] + self.attention(self.attention_norm(image), text)
        added: Tensor = self.mlp(self.mlp_norm(x))
        return x + added
