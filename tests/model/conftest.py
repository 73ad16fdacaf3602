from collections.abc import Callable

import pytest
import torch

from model import MGHFT, MGHFTConfig


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _randomise(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)


@pytest.fixture
def randomise() -> Callable[[torch.nn.Module], None]:
    """Gives a model weights large enough that every part of it shows in its output."""
    return _randomise


@pytest.fixture
def tiny() -> Callable[..., MGHFT]:
    def build(**overrides: object) -> MGHFT:
        model = MGHFT(MGHFTConfig.preset("tiny", **overrides)).eval()
        _randomise(model)
        return model

    return build


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return {
        "image": torch.randn(3, 3, 64, 64),
        "text_features": torch.randn(3, 4, 32),
        "labels": torch.tensor([0, 3, 6]),
    }
