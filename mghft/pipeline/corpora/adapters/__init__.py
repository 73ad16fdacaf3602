"""Adapters: one module per kind of corpus on disk, each with `read(card, root) -> Listing`.

A module whose corpus is known under several names also has `possible_ids(name, file) -> list[str]`: the ids
that a name in somebody's file of splits may mean. One whose variants read different stickers has
`is_of_another_variant(card, name, file) -> bool`, which tells such a name without the other variant's files.
"""

import importlib
from types import ModuleType

__all__ = ["open_adapter"]


def open_adapter(name: str) -> ModuleType:
    """Return the module that reads the corpora of a card's field `adapter`."""
    return importlib.import_module(f"{__name__}.{name}")
