"""Descriptions to a model: data, trainer, evaluation, probing.

The names are those of the rooms below; nothing heavy is loaded before one of them is used. Called, the
room is the function `mghft.api.train`: `mghft.train("emoji", …)` and `mghft.train.config` both mean what
they say.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__: list[str] = []


class _CallableRoom(ModuleType):
    """A package whose name is that of a function of the API too."""

    def __call__(self, *arguments: Any, **settings: Any) -> Path:
        """Train a network; see `mghft.api.train`."""
        # By name, since a room imports nothing from the floors above it.
        folder: Path = importlib.import_module("mghft.api").train(*arguments, **settings)
        return folder


sys.modules[__name__].__class__ = _CallableRoom
