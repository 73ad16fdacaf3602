"""Topics of TGCA-PVT: who belongs together, and the context that stickers of one topic share."""

from __future__ import annotations

import torch
from torch import Tensor


def topic_groups(ids: Tensor) -> Tensor:
    """Return which rows of token ids [B, L] are equal: the rank of each among the distinct rows, [B].

    Two topics whose first L word pieces are the same become one.
    """
    return torch.unique(ids, dim=0, return_inverse=True)[1]


def group_mean(x: Tensor, groups: Tensor | None) -> Tensor:
    """Return for every row of x [B, ...] the mean over the rows of its group [B]; None: each by itself."""
    if groups is None:
        return x
    same = (groups[:, None] == groups).to(x.dtype)
    return ((same / same.sum(1, keepdim=True)) @ x.flatten(1)).view_as(x)
