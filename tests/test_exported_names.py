"""A room offers names that can be imported, in order; none is private, none hides a module."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "mghft"
ROOMS = sorted(
    ".".join(("mghft", *path.parent.relative_to(ROOT).parts)) for path in ROOT.rglob("__init__.py")
)


@pytest.mark.parametrize("room", ROOMS)
def test_room_names_what_it_offers(room: str) -> None:
    module = importlib.import_module(room)
    names = module.__all__
    assert list(names) == sorted(names)
    for name in names:
        assert not name.startswith("_")
        if (Path(module.__path__[0]) / f"{name}.py").exists():
            # Once a module is imported, its name in the package may mean the module and not the function.
            importlib.import_module(f"{room}.{name}")
        value = getattr(module, name)
        # `mghft.train` is a room and, called, the function of that name.
        assert callable(value) or not isinstance(value, types.ModuleType), f"{room}.{name} is a module"
