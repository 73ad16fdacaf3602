"""The comparison as files; tests/test_pages.py looks at its page."""

from __future__ import annotations

import json
from pathlib import Path

import page_samples
import pytest
from PIL import Image

from mghft.train.comparison.page import Shown, forest, write_comparison
from mghft.train.comparison.results import Comparison


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    """Seven systems with long names on 40 stickers of a folder of classes."""
    return page_samples.compared(tmp_path)


def test_files_say_the_same(compared: Comparison, tmp_path: Path) -> None:
    write_comparison(tmp_path / "out", compared, Shown("folder", tmp_path / "data", None), count=8)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "compare.json",
        "compare.md",
        "index.html",
    ]
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (
        found["sections"][0]["systems"][0]["accuracy"]["mean"]
        == compared.sections[0].systems[0].accuracy.mean
    )
    page = (tmp_path / "out" / "index.html").read_text()
    text = (tmp_path / "out" / "compare.md").read_text()
    for pair in compared.sections[0].pairs:
        assert pair.words.split(":")[0] in page and pair.words.split(":")[0] in text
    assert page.count('<article class="card">') == 8 and page.count("data:image/webp") == 8
    assert "悲伤" in page


def test_forest_is_placed_on_one_axis(compared: Comparison) -> None:
    rows = forest(compared.sections[0])
    assert min(row.left for row in rows) == 0 and max(row.right for row in rows) == 1
    assert all(row.left <= row.middle <= row.right for row in rows)


def test_corpus_that_is_another_is_refused_before_anything_is_written(
    compared: Comparison, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "x.png")
    with pytest.raises(ValueError, match="has no sticker"):
        write_comparison(tmp_path / "out", compared, Shown("folder", tmp_path / "elsewhere", None), count=8)
    assert not (tmp_path / "out").exists()
