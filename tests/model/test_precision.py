"""bf16 autocast and torch.compile against plain float32, and how the cost grows with the picture."""

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.pvt import Block

Build = Callable[..., MGHFT]
Batch = dict[str, Tensor]
MIDDLE = {"embed_dims": (16, 32, 80, 128), "depths": (2, 2, 2, 2), "alpha": 2, "hidden_dim": 96}


def _gradients(model: MGHFT, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits, and all gradients as one vector."""
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    return output.logits.float(), torch.cat([p.grad.flatten() for p in model.parameters()])


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


@pytest.mark.parametrize("overrides", [{}, MIDDLE], ids=["tiny", "middle"])
def test_bf16_agrees_with_float32(overrides: dict[str, object], batch: Batch) -> None:
    """At the weights a training starts from: logits within 2 % of their size, gradients within 8 degrees."""
    model = MGHFT(MGHFTConfig.preset("tiny", **overrides)).eval()
    logits, gradient = _gradients(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_gradient = _gradients(model, batch)
    assert (rounded - logits).norm() < 0.02 * logits.norm()
    assert _cosine(gradient, rounded_gradient) > 0.99
    assert 0.95 < rounded_gradient.norm() / gradient.norm() < 1.05


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_model_agrees(backend: str, batch: Batch, tiny: Build) -> None:
    model = tiny()
    logits, gradient = _gradients(model, batch)
    torch._dynamo.reset()
    model.forward = torch.compile(model.forward, backend=backend)
    compiled, compiled_gradient = _gradients(model, batch)
    torch.testing.assert_close(compiled, logits, rtol=1e-3, atol=1e-4)
    assert (compiled_gradient - gradient).norm() < 1e-3 * gradient.norm()


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles with g++: install it")
@pytest.mark.filterwarnings("ignore")
def test_block_compiled_by_inductor_agrees() -> None:
    """A block alone: compiling the whole model takes many minutes on two cores."""
    block = Block(width=16, heads=2, mlp_ratio=2, sr_ratio=2, drop_path=0.0)
    x = torch.randn(2, 1 + 16, 16)
    wanted = list(block.parameters())
    expected = block(x, (4, 4))[0]
    gradients = torch.autograd.grad(expected.square().sum(), wanted)
    torch._dynamo.reset()
    compiled = torch.compile(block)(x, (4, 4))[0]
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5)
    actual = torch.autograd.grad(compiled.square().sum(), wanted)
    for ours, theirs in zip(actual, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def _products(side: int) -> tuple[float, float]:
    """FLOPs of attention between tokens, and of everything else, for one forward and backward pass."""
    model = MGHFT(MGHFTConfig.preset("tiny", use_text=False, image_size=side))
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(1, 3, side, side), labels=torch.tensor([0])).loss.backward()
    by_operation = counter.get_flop_counts()["Global"]
    attention = sum(
        flops for name, flops in by_operation.items() if "attention" in str(name) or "bmm" in str(name)
    )
    return attention, sum(by_operation.values()) - attention


def test_cost_outside_attention_grows_with_the_patches() -> None:
    """Twice the side is four times the patches; a little is spent once, whatever the size."""
    small, large = _products(128), _products(256)
    assert 3.6 < large[1] / small[1] < 4.05
