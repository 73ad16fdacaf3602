"""What every test needs: one thread per process, since tiny models collapse under several on busy cores."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system of a size like "256k", which ends with the test."""
    place = tmp_path / "small"
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small file system: run the tests as root to have this one")
        mounted.append(place)
        return place

    yield mount
    for disk in mounted:
        subprocess.run(["umount", disk], check=True)
