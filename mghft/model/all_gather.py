"""Rows of all processes of a distributed training, with exact gradients for averaged parameters."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """Gather the rows of all processes: [B, ...] -> [processes · B, ...], in order of rank.

    B is the same everywhere. For a loss that every process computes from the same gathered rows, and
    parameters whose gradients are averaged over the processes afterwards (DistributedDataParallel): the
    gradient that comes back to a process is that of its own rows times the number of processes, so the
    average is the gradient of the loss in one process. Nothing is sent in the backward pass, since every
    process would send the same.
    Without a process group the rows themselves are returned.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        # Not every backend knows booleans.
        plain = rows.to(torch.uint8) if rows.dtype == torch.bool else rows
        gathered = [torch.empty_like(plain) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, plain.contiguous())
        return torch.cat(gathered).to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        start = dist.get_rank() * ctx.count
        return gradients[0][start : start + ctx.count] * dist.get_world_size()
