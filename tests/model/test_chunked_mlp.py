from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mghft.model import chunked_mlp as module
from mghft.model.chunked_mlp import chunked_mlp, should_chunk
from mghft.model.cost import LiveBytes
from mghft.model.pvt import Mlp


def _arguments(width: int) -> tuple[Tensor, ...]:
    shapes = ((2, 11, width), (4 * width, width), (4 * width,), (width, 4 * width), (width,))
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


def _plain(x: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor) -> Tensor:
    return F.linear(F.gelu(F.linear(x, weight_1, bias_1)), weight_2, bias_2)


@pytest.mark.parametrize("recomputed_width", [0, 64])
@pytest.mark.parametrize("rows_a_piece", [1, 5, 22, 100])
def test_pieces_give_the_plain_layers_and_their_gradients(
    rows_a_piece: int, recomputed_width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ENTRIES", rows_a_piece * 32)
    monkeypatch.setattr(module, "RECOMPUTED_WIDTH", recomputed_width)
    arguments = _arguments(8)
    arriving = torch.randn(2, 11, 8, dtype=torch.float64)
    torch.testing.assert_close(chunked_mlp(*arguments), _plain(*arguments), rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(_plain(*arguments), arguments, arriving)
    actual = torch.autograd.grad(chunked_mlp(*arguments), arguments, arriving)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_narrow_tokens_keep_no_hidden_layer_for_the_gradient() -> None:
    x, *weights = _arguments(8)
    saved: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        chunked_mlp(x, *weights)
    assert max(saved) == 4 * 8 * 8 < 2 * 11 * 32


def test_prediction_writes_no_hidden_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 5 * 4 * 128)
    arguments = _arguments(128)
    with torch.inference_mode(), LiveBytes() as live:
        live.ignore(arguments)
        chunked_mlp(*arguments)
    # The result and one piece of the hidden layer, before and behind its GELU; the whole would be 22 rows.
    assert 0 < live.peak <= 8 * (22 * 128 + 2 * 5 * 512)


def test_only_large_inputs_of_a_cpu_go_piece_by_piece() -> None:
    tokens = torch.empty(2, 12545, 64)
    assert should_chunk(tokens, 512)
    assert not should_chunk(tokens[:, :197], 512)
    assert not should_chunk(tokens.to("meta"), 512)
    with torch.autocast("cpu", torch.bfloat16):
        assert not should_chunk(tokens, 512)


def test_mlp_with_dropout_still_drops_when_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_ENTRIES", 0)
    mlp = Mlp(8, 32, dropout=0.5)
    x = torch.randn(2, 50, 8)
    assert (mlp.train()(x) == 0).float().mean() > 0.3
    assert torch.equal(mlp.eval()(x), chunked_mlp(x, *mlp.parameters()))


def test_whole_model_is_the_same_piece_by_piece(
    tiny: Callable[..., torch.nn.Module], batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny().double()
    wide = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    results = []
    for entries in (2**62, 0):
        monkeypatch.setattr(module, "MIN_ENTRIES", entries)
        monkeypatch.setattr(module, "CHUNK_ENTRIES", 1000)
        output = model(**wide)
        gradients = torch.autograd.grad(output.loss, list(model.parameters()))
        results.append((output.logits, *gradients))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
