"""Large tensors in huge pages: fewer page faults and address look-ups for training on a CPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "THP_MEM_ALLOC_ENABLE"
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask_for_huge_pages() -> None:
    """Let torch ask the kernel for huge pages (tensors of 2 MB and more), where Linux gives them to who asks.

    Comes before torch makes its first tensor, which is when it looks. An environment that has the variable
    keeps its value (0: off).
    """
    if sys.platform == "linux" and _may_ask():
        os.environ.setdefault(VARIABLE, "1")


def _may_ask() -> bool:
    try:
        return "[never]" not in _SWITCH.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False
