"""An MLP on a CPU, computed chunk by chunk, so that its hidden layer stays in the caches."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Entries of the hidden layer in one chunk: 4 MB of float32.
CHUNK_ENTRIES = 2**20
# Below this many entries the plain layers are as quick.
MIN_ENTRIES = 2**22
# Up to this many channels a second first layer costs less than writing, keeping and reading its result.
RECOMPUTED_WIDTH = 64


def should_chunk(x: Tensor, hidden: int) -> bool:
    """Tell whether `chunked_mlp` is worth it for tokens [..., C] and a hidden layer of that width.

    Autocast and compiled code do without.
    """
    return (
        x.device.type == "cpu"
        # First, since a graph knows no size.
        and not torch.compiler.is_compiling()
        and x.numel() // x.shape[-1] * hidden > MIN_ENTRIES
        and not torch.is_autocast_enabled("cpu")
    )


def chunked_mlp(x: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor) -> Tensor:
    """Compute Linear, GELU, Linear over tokens [..., C] -> [..., C'], equal to the plain layers.

    Whole hidden layers would spend more time on page faults and memory than on arithmetic. The gradients
    are those of the plain layers; they compute GELU again (for narrow tokens the first layer too) and can't
    themselves be differentiated.
    """
    # Inside a function of autograd gradients are off, and what needs them is told apart from no other way.
    keeps = x.shape[-1] > RECOMPUTED_WIDTH and torch.is_grad_enabled()
    return cast(Tensor, _ChunkedMlp.apply(x, weight_1, bias_1, weight_2, bias_2, keeps))  # type: ignore[no-untyped-call]


class _ChunkedMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_1: Tensor,
        bias_1: Tensor,
        weight_2: Tensor,
        bias_2: Tensor,
        keeps_hidden: bool,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        step = max(1, CHUNK_ENTRIES // len(weight_1))
        out = rows.new_empty(len(rows), len(weight_2))
        kept = rows.new_empty(len(rows), len(weight_1)) if keeps_hidden else None
        for start in range(0, len(rows), step):
            chunk = slice(start, start + step)
            hidden = torch.addmm(bias_1, rows[chunk], weight_1.t(), out=None if kept is None else kept[chunk])
            torch.addmm(bias_2, F.gelu(hidden), weight_2.t(), out=out[chunk])
        ctx.save_for_backward(x, weight_1, bias_1, weight_2, kept)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_1, bias_1, weight_2, kept = ctx.saved_tensors
        rows, arriving = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        step = max(1, CHUNK_ENTRIES // len(weight_1))
        grad_x = torch.empty_like(rows)
        grad_1, grad_bias_1, grad_2 = (torch.zeros_like(tensor) for tensor in (weight_1, bias_1, weight_2))
        for start in range(0, len(rows), step):
            chunk = slice(start, start + step)
            hidden = torch.addmm(bias_1, rows[chunk], weight_1.t()) if kept is None else kept[chunk]
            grad_2.addmm_(arriving[chunk].t(), F.gelu(hidden))
            grad_hidden = torch.ops.aten.gelu_backward(arriving[chunk] @ weight_2, hidden)
            grad_1.addmm_(grad_hidden.t(), rows[chunk])
            grad_bias_1 += grad_hidden.sum(dim=0)
            torch.mm(grad_hidden, weight_1, out=grad_x[chunk])
        return grad_x.view(x.shape), grad_1, grad_bias_1, grad_2, arriving.sum(dim=0), None
