import pytest
import torch
from torch import Tensor

from mghft.model import reattention
from mghft.model.reattention import reattention_indices, reattention_scores


def _queries_keys(depth: int, tokens: int, keys: int) -> list[tuple[Tensor, Tensor]]:
    return [
        (
            torch.randn(2, 3, tokens, 4, dtype=torch.float64),
            torch.randn(2, 3, keys, 4, dtype=torch.float64),
        )
        for _ in range(depth)
    ]


def _literal(queries_keys: list[tuple[Tensor, Tensor]], last_stage: bool) -> Tensor:
    maps = [torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1) for q, k in queries_keys]
    product = maps[0] if last_stage else maps[0].transpose(-1, -2)
    for index, attention in enumerate(maps[1:], start=1):
        plain = last_stage or index % 2 == 1
        product = (attention if plain else attention.transpose(-1, -2)) @ product
    return product[..., 0, 1:]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("chunked", [False, True])
def test_chain_equals_the_product_of_reduced_maps(
    depth: int, chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chunked:
        monkeypatch.setattr(reattention, "MAX_ENTRIES_CPU", 2 * 3 * 5 * 7)
    queries_keys = _queries_keys(depth, tokens=17, keys=5)
    scores = reattention_scores(queries_keys, last_stage=False)
    torch.testing.assert_close(scores, _literal(queries_keys, False), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
def test_chain_equals_the_product_in_the_last_stage(depth: int) -> None:
    queries_keys = _queries_keys(depth, tokens=10, keys=10)
    scores = reattention_scores(queries_keys, last_stage=True)
    torch.testing.assert_close(scores, _literal(queries_keys, True), rtol=1e-12, atol=1e-15)


def test_indices_are_the_best_patches_in_descending_order() -> None:
    queries_keys = _queries_keys(3, tokens=17, keys=5)
    expected = _literal(queries_keys, False).argsort(dim=-1, descending=True)[..., :6]
    assert torch.equal(reattention_indices(queries_keys, count=6, last_stage=False), expected)


def test_scores_carry_no_gradient() -> None:
    queries_keys = [(q.requires_grad_(), k.requires_grad_()) for q, k in _queries_keys(2, 17, 5)]
    assert not reattention_scores(queries_keys, last_stage=False).requires_grad


def test_autocast_does_not_round_the_scores() -> None:
    queries_keys = [(q.float(), k.float()) for q, k in _queries_keys(3, 17, 5)]
    expected = reattention_scores(queries_keys, last_stage=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(reattention_scores(queries_keys, last_stage=False), expected)
