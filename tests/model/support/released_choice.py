"""The patches of a golden case on any processor: scores that lie 1e-7 apart change places in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from torch import Tensor

STAGES = 4


def released_indices(expected: Mapping[str, Tensor]) -> list[Tensor]:
    """Return [B, heads, alpha * sr^2] patches of every stage, in the order of the released run."""
    return [expected[f"lra_indices_{stage}"] for stage in range(STAGES)]


@contextmanager
def released_choice(expected: Mapping[str, Tensor], module: str = "mghft.model.mghft") -> Iterator[None]:
    """Let one forward pass take the patches of the released run in its order, to compare all else.

    Args:
        module: in which the model selects its patches.
    """
    given = iter(released_indices(expected))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.reattention_indices", lambda *_, **__: next(given))
        yield
    assert next(given, None) is None
