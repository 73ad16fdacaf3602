"""The code in docs/descriptions.md runs as it stands there, and its settings are the defaults."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from describe_bench import config, make_corpus, run

from mghft.pipeline.describe.config import DescribeConfig

ROOT = Path(__file__).parents[3]


def blocks(language):
    text = (ROOT / "docs" / "descriptions.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


BLOCKS = blocks("python")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, tmp_path):
    card = make_corpus(tmp_path / "data", 20)
    run(config(card, tmp_path / "demo" / "descriptions"))
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[number]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_three_blocks():
    assert len(BLOCKS) == 3


def test_settings_are_the_defaults():
    (block,) = blocks("yaml")
    least = DescribeConfig(card="emoji", data="demo/data", out="demo/descriptions")
    assert DescribeConfig(**yaml.safe_load(block)) == least
