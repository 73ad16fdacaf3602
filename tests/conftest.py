"""What every test needs: one thread per process, since tiny models collapse under several on busy cores."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Every line of output counts; the tests of the words while waiting switch them on.
os.environ.setdefault("MGHFT_WAITING", "0")


@pytest.fixture
def former_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped stand-in passes for the one that the manifests of tests/old_runs were written with."""
    from mghft.pipeline.engines import model_source
    from mghft.pipeline.tiny_llava import checkpoint_path

    hash_of = model_source.hash_folder
    manifest = Path(__file__).parent / "old_runs" / "described" / "manifest.json"
    former = json.loads(manifest.read_text())["model"]["weights_sha256"]
    monkeypatch.setattr(
        model_source,
        "hash_folder",
        lambda folder: former if folder == checkpoint_path() else hash_of(folder),
    )


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
