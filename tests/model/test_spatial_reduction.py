import pytest
import torch
from torch import Tensor, nn

from mghft.model.pvt import Block, ReducedAttention
from mghft.model.spatial_reduction import WIDEST_AS_PRODUCTS, reduce_patches


def _by_convolution(patches: Tensor, convolution: nn.Conv2d, grid: tuple[int, int]) -> Tensor:
    image = patches.transpose(1, 2).reshape(len(patches), -1, *grid)
    reduced: Tensor = convolution(image)
    return reduced.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("ratio", [2, 4, 8])
def test_reduction_is_the_convolution_and_so_are_its_gradients(ratio: int) -> None:
    torch.manual_seed(0)
    grid = (2 * ratio, 3 * ratio)
    convolution = nn.Conv2d(5, 7, kernel_size=ratio, stride=ratio).double()
    # A slice behind a class token, as the backbone passes it.
    tokens = torch.randn(2, 1 + grid[0] * grid[1], 5, dtype=torch.float64, requires_grad=True)
    arriving = torch.randn(2, 6, 7, dtype=torch.float64)
    wanted = (tokens, convolution.weight, convolution.bias)
    outputs = [reduce(tokens[:, 1:], convolution, grid) for reduce in (_by_convolution, reduce_patches)]
    assert torch.equal(outputs[0], outputs[1])
    assert ("Reduction" in str(outputs[1].grad_fn)) == (ratio <= WIDEST_AS_PRODUCTS)
    theirs, ours = (torch.autograd.grad(output, wanted, arriving) for output in outputs)
    for expected, actual in zip(theirs, ours, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_reduction_without_gradients_keeps_nothing() -> None:
    attention = ReducedAttention(8, heads=2, ratio=2)
    with torch.no_grad():
        assert not attention.reduce(torch.randn(2, 16, 8), (4, 4)).requires_grad


@pytest.mark.filterwarnings("ignore:.*once_differentiable")
def test_weights_that_do_not_train_get_no_gradient() -> None:
    block = Block(width=8, heads=2, mlp_ratio=2, sr_ratio=2, drop_path=0.0).requires_grad_(False)
    x = torch.randn(2, 17, 8, requires_grad=True)
    block(x, (4, 4))[0].sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in block.parameters())
