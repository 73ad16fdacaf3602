"""A run remembers every processor that it was computed on."""

from __future__ import annotations

import platform
import shlex
import sys
from pathlib import Path

import pytest

from mghft.train.runs import folder
from mghft.train.runs.files import read_json
from mghft.train.runs.folder import RunFolder


def test_run_that_moves_to_another_processor_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    for name in ("One", "One", "Two", "One"):
        monkeypatch.setattr(folder, "processor", lambda name=name: {"name": name, "instructions": "avx2"})
        run.begin(identity={}, config={}, model={}, labels=("a", "b"))
    assert [one["name"] for one in read_json(run.config_file)["processors"]] == ["One", "Two", "One"]


def test_run_of_before_begins_its_list_when_it_goes_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config_file.write_text('{"changes": []}', encoding="utf-8")
    run.begin(identity={}, config={}, model={}, labels=("a", "b"))
    assert len(read_json(run.config_file)["processors"]) == 1


def test_run_remembers_versions_and_every_start(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    for _ in range(2):
        run.begin(identity={}, config={}, model={}, labels=("a", "b"))
    found = read_json(run.config_file)
    assert found["versions"]["python"] == platform.python_version()
    assert {"mghft", "torch", "transformers", "numpy", "pillow"} <= set(found["versions"])
    first, second = found["starts"]
    assert first["at"] <= second["at"] and first["at"].endswith("+00:00")
    assert first["command"] == second["command"] == shlex.join(sys.argv)
