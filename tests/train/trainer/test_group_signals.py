"""SIGTERM to the whole process group, as `timeout` and `scancel` send it: saved, left, gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from squares import World, metrics

from mghft.train.runs.checkpoints import checkpoint_paths


def command(world: World, name: str, *words: str, **changes: Any) -> list[str]:
    fields = world.fields(name, epochs=60, pvt_weights=None, workers=2, **changes)
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in fields.items()}
    config = world.folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(plain))
    return [sys.executable, "-m", "mghft", "train", "--config", str(config), "--resume", *words]


@pytest.mark.parametrize("words", [[], ["--num-processes", "2"]], ids=["one", "two"])
def test_group_that_is_terminated_saves_and_goes_on(world: World, words: list[str]) -> None:
    run = world.folder / "run"
    process = subprocess.Popen(
        command(world, "run", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").is_file() or len(metrics(run)) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output and "killed by signal" not in output, output
    assert process.returncode == 130, output
    done = len(metrics(run))
    assert 2 <= done < 60
    # Nobody of the group is left.
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    last = max(int(path.name.split("-")[1]) for path in checkpoint_paths(run))
    steps = 24 // (6 * (2 if words else 1))
    assert last >= done * steps
    again = subprocess.run(
        [*command(world, "run", *words, allow_changes=["epochs"]), "--epochs", str(done + 2)],
        capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert [line["epoch"] for line in metrics(run)] == list(range(1, done + 3))
