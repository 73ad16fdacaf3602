"""What TGCA-PVT (ACM MM 2024) takes from the stickers that share a topic: means over their tokens."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mghft.model.config import PyramidConfig
from mghft.model.fusion import GuidedAttention, TextGuidedFusion


def topic_groups(topics: Tensor) -> Tensor:
    """Return the topic group of every sticker of a batch: [B], from 1 on.

    The rank of its row among the different rows of the batch; outside the batch it means nothing.

    Args:
        topics: [B] any numbers, or [B, L] token ids; equal rows are one topic.
    """
    group: Tensor = torch.unique(topics, dim=0, return_inverse=True)[1]
    return group + 1


def topic_weights(topics: Tensor) -> Tensor:
    """Return what every sticker of the batch counts in the mean over another's topic: [B, B], rows sum to 1.

    Args:
        topics: as for `topic_groups`.
    """
    # Not by `topic_groups`: how many there are can't be told of tensors without data (see model/cost.py).
    rows = topics.reshape(len(topics), -1)
    same = (rows[:, None] == rows[None, :]).all(dim=-1).to(torch.get_default_dtype())
    return same / same.sum(dim=1, keepdim=True)


def topic_mean(x: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of x [B, ...] over every sticker's topic, itself included.

    Args:
        weights: [B, B] of `topic_weights`; None for a sticker that is alone in its topic.
    """
    if weights is None:
        return x
    return torch.einsum("ij,j...->i...", weights.to(x.dtype), x)


class TopicContext(nn.Module):
    """Topic-guided context: a token plus the mean over the topic of what a linear layer makes of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Released as a convolution with a kernel of 1.
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, weights: Tensor | None) -> Tensor:
        """Return [B, ..., C] for tokens [B, ..., C]; weights as for `topic_mean`."""
        return x + topic_mean(x + self.linear(x), weights)


class TopicGuidedAttention(GuidedAttention):
    """Attention by way of the topic, for token 0 alone; one query projection serves image and topic."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.context = TopicContext(width)

    def forward(self, image: Tensor, text: Tensor | None) -> Tensor:
        """Return what is added to token 0.

        Every token's mean over the topic attends to the image, and token 0 to what that gave. Only its row of
        the second step is read; the first one is needed for all tokens.

        Args:
            image: [B, n, H] tokens of picture and text.
            text: [B, B] weights as for `topic_mean`: here the guide is the topic.

        Returns:
            [B, H].
        """
        topic, key, value = (
            projection(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, tokens in (
                (self.query, self.context(image, text)),
                (self.key, image),
                (self.value, image),
            )
        )
        guided = F.scaled_dot_product_attention(topic, key, value)
        query = self.project_query(image).unsqueeze(2) / math.sqrt(topic.shape[-1])
        weights = (query @ topic.transpose(2, 3)).softmax(dim=-1)
        out: Tensor = self.output((weights @ guided).squeeze(2).flatten(1))
        return out


class TopicGuidedFusion(TextGuidedFusion):
    """The fusion block of TGCA-PVT; its second argument is the weights of the topic."""

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__(config)
        self.attention = TopicGuidedAttention(config.hidden_dim, config.fusion_heads)
