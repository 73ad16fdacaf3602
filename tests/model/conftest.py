from collections.abc import Callable, Iterator

import pytest
import torch

from mghft.model import MGHFT, MGHFTConfig


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    """One seed; and one thread, because on a busy machine more of them wait for each other at these sizes."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
