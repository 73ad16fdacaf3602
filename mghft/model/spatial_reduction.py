"""PVT's spatial reduction, a convolution as wide as its stride, whose gradients on a CPU are two products."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Beyond this the cutting into squares costs more than the products save (8 with 64 channels: 1.6 times).
WIDEST_AS_PRODUCTS = 4


def reduce_patches(patches: Tensor, convolution: nn.Conv2d, grid: tuple[int, int]) -> Tensor:
    """Return the reduced patches: [B, N, C] -> [B, N / ratio², C'].

    The convolution sums forward in its own order everywhere: local re-attention ranks scores that differ in
    their last bits. Gradients on a CPU are products (two thirds of the time for a ratio of 2), equal to the
    convolution's; those can't themselves be differentiated.

    Args:
        patches: row by row.
        convolution: kernel and stride are the ratio.
        grid: rows and columns of the patches, multiples of the ratio.
    """
    weight, bias = convolution.weight, convolution.bias
    plain = (
        patches.device.type != "cpu"
        or not torch.is_grad_enabled()
        or weight.shape[-1] > WIDEST_AS_PRODUCTS
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )
    if plain:
        return _convolve(patches, weight, bias, grid)
    return cast(Tensor, _Reduction.apply(patches, weight, bias, grid))  # type: ignore[no-untyped-call]


def _convolve(patches: Tensor, weight: Tensor, bias: Tensor | None, grid: tuple[int, int]) -> Tensor:
    image = patches.transpose(1, 2).reshape(patches.shape[0], -1, *grid)
    reduced = torch.conv2d(image, weight, bias, stride=weight.shape[-1])
    return reduced.flatten(2).transpose(1, 2)


class _Reduction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, patches: Tensor, weight: Tensor, bias: Tensor | None, grid: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(patches, weight)
        ctx.grid = grid
        return _convolve(patches, weight, bias, grid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        patches, weight = ctx.saved_tensors
        batch, _, width = patches.shape
        ratio, (rows, columns) = weight.shape[-1], ctx.grid
        squares = (batch, rows // ratio, ratio, columns // ratio, ratio, width)
        flat = patches.reshape(squares).transpose(2, 3).reshape(-1, ratio * ratio * width)
        arriving = gradient.reshape(-1, len(weight))
        kernel = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
        grad_kernel = (arriving.t() @ flat).view(len(weight), ratio, ratio, width).permute(0, 3, 1, 2)
        grad_squares = (arriving @ kernel).view(batch, rows // ratio, columns // ratio, ratio, ratio, width)
        return grad_squares.transpose(2, 3).reshape(patches.shape), grad_kernel, arriving.sum(dim=0), None
