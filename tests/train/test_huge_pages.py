"""Training asks for huge pages before torch makes its first tensor, and only where Linux gives them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mghft.train import huge_pages

ASKED = huge_pages._may_ask() and "[madvise]" in huge_pages._SWITCH.read_text()
FAULTS = """
import os, resource, sys
os.environ.pop("THP_MEM_ALLOC_ENABLE", None)
import torch
from mghft.train.huge_pages import ask_for_huge_pages
if sys.argv[1] == "ask":
    ask_for_huge_pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
kept = torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(way: str) -> int:
    run = subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not ASKED, reason="needs a Linux that gives huge pages to who asks (enabled: madvise)")
def test_a_large_tensor_lies_in_huge_pages() -> None:
    assert faults("ask") < faults("leave") / 4


@pytest.mark.parametrize(
    ("switch", "given", "expected"),
    [
        ("always [madvise] never\n", None, "1"),
        ("[always] madvise never\n", None, "1"),
        ("always madvise [never]\n", None, None),
        (None, None, None),
        ("always [madvise] never\n", "0", "0"),
    ],
)
def test_asked_where_the_kernel_may_give_and_nobody_said_otherwise(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    switch: str | None,
    given: str | None,
    expected: str | None,
) -> None:
    monkeypatch.setattr(huge_pages, "_SWITCH", tmp_path / "enabled")
    monkeypatch.setattr(sys, "platform", "linux")
    # Set first, so that the environment is as it was when the test ends.
    monkeypatch.setenv(huge_pages.VARIABLE, "")
    if switch is not None:
        (tmp_path / "enabled").write_text(switch)
    if given is None:
        monkeypatch.delenv(huge_pages.VARIABLE)
    else:
        monkeypatch.setenv(huge_pages.VARIABLE, given)
    huge_pages.ask_for_huge_pages()
    assert os.environ.get(huge_pages.VARIABLE) == expected
