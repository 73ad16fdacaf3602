"""Libraries of the extra `stickers`: imported when the first file needs one, named where one is absent."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from mghft.pipeline.images.color import ImageError

MODULES = ("av", "pillow_heif", "rlottie_python")
INSTALL = "pip install 'mghft[stickers]'"


def require(module: str, package: str, kind: str) -> ModuleType:
    """Import a library of the extra.

    Args:
        module: its name in Python.
        package: its name where it is installed from.
        kind: of the file that needs it, for the message.

    Raises:
        ImageError: it is not installed, or does not load; the message names the way out.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageError(f"the file is {kind}, which needs the package {package}: {INSTALL}") from None


def is_complete() -> bool:
    """Return whether all libraries of the extra are installed; none is imported."""
    return all(importlib.util.find_spec(module) is not None for module in MODULES)


def is_lacking_library(reason: str) -> bool:
    """Return whether a reason kept for an image is that a library of the extra was absent."""
    return reason.endswith(INSTALL)
