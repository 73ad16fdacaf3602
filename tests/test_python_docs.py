"""The examples of docs/python.md run as they stand, one after the other; the package offers what it lists."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mghft
from mghft.pipeline.corpora.card import load_card

DOCS = Path(__file__).resolve().parents[1] / "docs" / "python.md"
OFFERED = ["MGHFT", "Prediction", "Predictor", "describe", "evaluate", "load_card", "load_corpus"]
OFFERED += ["read_descriptions", "train"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A corpus of the card emoji: coloured squares, so few that two epochs take seconds."""
    root = tmp_path / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    with (root / "stickers.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split", "part", "emoji", "hexcode", "name", "style"])
        for number in range(56):
            label = load_card("emoji").labels[number % 7]
            split = "train" if number < 42 else "validation"
            pixels = rng.normal(30 * (number % 7) + 30, 9, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"{number}.png")
            writer.writerow([f"{number}.png", label, split, "", "", "", "", ""])
    return root


def test_offered_names_are_those_of_the_page() -> None:
    assert list(mghft.__all__) == OFFERED
    table = [line for line in DOCS.read_text().splitlines() if line.startswith("| `mghft.")]
    assert sorted({name for line in table for name in re.findall(r"`mghft\.(\w+)`", line)}) == OFFERED


def test_import_loads_nothing_heavy_and_the_names_are_documented() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import mghft; taken = time.perf_counter() - began\n"
        "print({'torch', 'pydantic', 'numpy'} & set(sys.modules), taken)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, _, taken = done.stdout.strip().rpartition(" ")
    assert modules == "set()"
    # A few milliseconds on a quiet machine.
    assert float(taken) < 1
    for name in OFFERED:
        assert getattr(mghft, name).__doc__, name


def test_train_is_a_room_and_a_function() -> None:
    import mghft.train.config as config
    from mghft import train

    assert callable(mghft.train) and train is mghft.train and mghft.train.config is config
    with pytest.raises(FileNotFoundError, match="the recipe 'none' does not exist"):
        mghft.train("emoji", data="nowhere", out="run", recipe="none")


def test_examples_run_as_they_stand(data: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    code = "\n".join(block.rstrip() for block in blocks)
    script = tmp_path / "example.py"
    script.write_text(
        f"def main():\n{textwrap.indent(code, '    ')}\n\n\nif __name__ == '__main__':\n    main()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "overlay.png").stat().st_size > 100
    assert (tmp_path / "run" / "best" / "inference.json").is_file()
    assert (tmp_path / "report" / "index.html").is_file()
    assert "56 0" in done.stdout and "None ('content', 'style'" not in done.stdout
