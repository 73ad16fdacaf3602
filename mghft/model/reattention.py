"""Local re-attention: which patches of a stage matter to its class token. Indices only, no gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Largest number of attention entries held at once; one full-size stage-1 map of a batch of 6 at 448 px.
MAX_ENTRIES = 2**24
# The same on a CPU, where 4 MB of them stay in the caches.
MAX_ENTRIES_CPU = 2**20


def _row_chunks(q: Tensor, k: Tensor) -> list[slice]:
    batch, heads, rows, _ = q.shape
    if torch.compiler.is_exporting():
        # A graph knows no batch: one piece, whatever its size.
        return [slice(0, rows)]
    limit = MAX_ENTRIES_CPU if q.device.type == "cpu" else MAX_ENTRIES
    step = max(1, limit // (batch * heads * k.shape[2]))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _attention_rows(q: Tensor, k: Tensor, rows: slice) -> Tensor:
    scale = 1.0 / math.sqrt(q.shape[-1])
    return ((q[:, :, rows] * scale) @ k.transpose(-1, -2)).softmax(dim=-1)


def _times_vector(q: Tensor, k: Tensor, vector: Tensor) -> Tensor:
    """P · v for the attention map P of (q, k): [B, h, K'] -> [B, h, N']."""
    chunks = [(_attention_rows(q, k, rows) @ vector.unsqueeze(-1)).squeeze(-1) for rows in _row_chunks(q, k)]
    return torch.cat(chunks, dim=-1)


def _vector_times(vector: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """vᵀ · P for the attention map P of (q, k): [B, h, N'] -> [B, h, K']."""
    total = vector.new_zeros(*vector.shape[:2], k.shape[2])
    for rows in _row_chunks(q, k):
        total += (vector[:, :, None, rows] @ _attention_rows(q, k, rows)).squeeze(-2)
    return total


@torch.no_grad()
def reattention_scores(queries_keys: Sequence[tuple[Tensor, Tensor]], *, last_stage: bool) -> Tensor:
    """Return the importance of every patch for the class token, after local re-attention.

    MGHFT (ACM MM 2025), section 3, after LORA (Liu et al., ACM MM 2022). The published product of all blocks'
    attention maps is only ever read at its first row, so it is evaluated as a chain of vector–matrix products
    from the last block to the first: O(depth · N · K) instead of O(depth · N² · K), and one map at a time,
    rebuilt from queries and keys.

    Args:
        queries_keys: (q [B, h, N', d], k [B, h, K', d]) of the stage's blocks, first block first; the class
            token is at index 0 of both.
        last_stage: keys are not spatially reduced (N' == K'), so every map multiplies untransposed; otherwise
            maps of even blocks multiply transposed.

    Returns:
        [B, h, N'-1] scores in float32 or better, one per patch. No gradient.
    """
    last = len(queries_keys) - 1
    # Half precision can't tell close scores apart, and autocast would go back to it.
    with torch.autocast(queries_keys[0][0].device.type, enabled=False):
        chain = [(q, k) if q.dtype == torch.float64 else (q.float(), k.float()) for q, k in queries_keys]
        q, k = chain[last]
        if last_stage or last % 2:
            vector = _attention_rows(q, k, slice(0, 1)).squeeze(-2)
        else:
            first_key = torch.zeros_like(k[..., 0])
            first_key[..., 0] = 1.0
            vector = _times_vector(q, k, first_key)
        for index in range(last - 1, -1, -1):
            q, k = chain[index]
            transposed = not last_stage and index % 2 == 0
            vector = _times_vector(q, k, vector) if transposed else _vector_times(vector, q, k)
    return vector[..., 1:]


@torch.no_grad()
def reattention_indices(
    queries_keys: Sequence[tuple[Tensor, Tensor]], *, count: int, last_stage: bool
) -> Tensor:
    """Select the most important patches of every head by `reattention_scores`.

    Args:
        queries_keys, last_stage: as for `reattention_scores`.
        count: patches per head.

    Returns:
        [B, h, count] numbers of patches, best first, counted without the class token. No gradient.
    """
    return reattention_scores(queries_keys, last_stage=last_stage).topk(count, dim=-1).indices
