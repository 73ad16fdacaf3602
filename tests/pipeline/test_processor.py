"""What a run writes down about the processor it is computed on."""

from __future__ import annotations

import platform

import pytest

from mghft.pipeline import processor as module
from mghft.pipeline.processor import LIMITS, processor


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cpuinfo"


def test_name_and_instructions_are_those_of_linux(cpuinfo):
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu amx_bf16 avx2 avx sse2\n"
        "bugs\t: avx512f\n\n"
        "processor\t: 1\nmodel name\t: Another\nflags\t: fma\n",
        encoding="utf-8",
    )
    assert processor() == {"name": "Some CPU: fast", "instructions": "avx avx2 amx_bf16"}


def test_limits_of_the_environment_are_told(cpuinfo, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert processor()["limits"] == {"ATEN_CPU_CAPABILITY": "avx2"}


def test_system_that_does_not_tell_gives_its_architecture(cpuinfo):
    assert processor() == {"name": platform.machine(), "instructions": ""}
