"""The comparison as files, and its page on a desk and on a phone, light and dark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from browser import layout, needs_chromium
from PIL import Image

from mghft.pipeline.predictions import prediction_table, write_predictions
from mghft.train.comparison.compare import CompareConfig, compare
from mghft.train.comparison.page import Shown, forest, write_comparison
from mghft.train.comparison.results import Comparison

LABELS = ("joy", "悲伤")
IDS = [f"{label}/{number}" for label in LABELS for number in range(20)]


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    """Seven systems with long names on 40 stickers of a folder of classes."""
    rng = np.random.default_rng(0)
    for id_ in IDS:
        path = tmp_path / "data" / f"{id_}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (40, 60), tuple(rng.integers(0, 255, 4).tolist())).save(path)
    true = [id_.split("/")[0] for id_ in IDS]
    right = rng.random((7, 40)) < np.linspace(0.9, 0.3, 7)[:, None]
    names = [f"A system of a long name, number {number}" for number in range(7)]
    tables = []
    for name, row in zip(names, right, strict=True):
        place = np.array(
            [
                LABELS.index(label) if ok else 1 - LABELS.index(label)
                for label, ok in zip(true, row, strict=True)
            ]
        )
        probabilities = np.where(np.arange(2) == place[:, None], 0.8, 0.2)
        ids = [f"{id_}.png" for id_ in IDS]
        tables.append(
            prediction_table(
                system=name,
                seed=1,
                split="all",
                ids=ids,
                true=true,
                probabilities=probabilities,
                labels=LABELS,
            )
        )
    write_predictions(tmp_path / "predictions.parquet", pa.concat_tables(tables))
    return compare(CompareConfig(sources=(str(tmp_path),), split="all"))


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


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_and_can_be_read(compared: Comparison, tmp_path: Path, width: int, dark: bool) -> None:
    write_comparison(tmp_path / "out", compared, Shown("folder", tmp_path / "data", None), count=8)
    found = layout(tmp_path / "out" / "index.html", tmp_path, width, dark=dark)
    assert found["width"] == found["visible"] == width
    assert found["images"] == 8 and found["broken"] == found["without_alt"] == 0
    assert found["low_contrast"] == [] and found["unreachable"] == 0
    bright = sum(found["background"]) > 380
    assert bright is not dark
