"""The version of this project: its number, and the commit where it runs from a checkout."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_COMMIT = re.compile(r"[0-9a-f]{40}(-dirty)?")


def project_version() -> str:
    """Return the installed version; "unknown" for a folder of sources that was never installed."""
    try:
        return version("mghft")
    except PackageNotFoundError:
        return "unknown"


@lru_cache(1)
def source_commit() -> str | None:
    """Return the commit of the checkout that this code lies in, with -dirty where tracked files differ.

    None where it lies in no checkout of its own, or git is not there.
    """
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = done.stdout.strip()
    return found if _COMMIT.fullmatch(found) else None
