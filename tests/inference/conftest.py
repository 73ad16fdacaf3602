"""A small corpus, and trained weights that read its descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest
from squares import World

from mghft.train.trainer.trainer import train


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("inference"))


@pytest.fixture(scope="session")
def run(world: World) -> Path:
    """A run of a network that reads the views; a crop, so that every step before the network counts."""
    return train(world.config("run", view_dropout=0.2, augmentation={"crop_pct": 0.8}))


@pytest.fixture(scope="session")
def blind(world: World) -> Path:
    return train(world.config("blind", use_text=False, descriptions=None, epochs=1, warmup_epochs=0))
