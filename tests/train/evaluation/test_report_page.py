"""What the report's page says, and names in any script in its charts; tests/test_pages.py looks at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from page_samples import report

from mghft.train.evaluation import fonts
from mghft.train.evaluation.fonts import legible
from mghft.train.evaluation.page_parts import confusion_rows, reliability
from mghft.train.evaluation.plots import draw_confusion
from mghft.train.evaluation.probability_metrics import calibration_error


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return report(tmp_path)


def test_report_says_what_was_computed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "Cohen&#39;s kappa with each of 2 annotators" in text
    assert "after the temperature fitted on validation" in text and ">2.50<" in text
    assert text.count("<polyline") == 2 and "<script" not in text
    assert "悲伤" in text and "text &lt;b&gt;with&lt;/b&gt; marks" in text
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "| system | MCC | kappa | top 2 | mAP | log loss | Brier | ECE | ECE, calibrated |" in markdown


def test_bins_of_the_figure_are_those_of_the_calibration_error() -> None:
    rng = np.random.default_rng(3)
    probabilities, true = rng.dirichlet([0.5] * 4, 500), rng.integers(0, 4, 500)
    bins = reliability(true, probabilities)
    by_hand = sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / 500
    assert by_hand == pytest.approx(calibration_error(true, probabilities), abs=1e-6)
    assert sum(one.count for one in bins) == 500
    flat = reliability(true, probabilities, 100.0)
    assert max(one.confidence for one in flat) < 0.3


def test_shares_of_the_confusion_are_of_the_true_label() -> None:
    rows = confusion_rows([[3, 1], [0, 0]])
    assert [[cell.share for cell in row] for row in rows] == [[0.75, 0.25], [0.0, 0.0]]


def test_name_that_no_font_can_write_is_a_number_and_no_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("joy", "悲伤", "sorrow")
    monkeypatch.setattr(fonts, "_fonts_with", lambda letters: [])
    assert legible(names) == ["joy", "№ 2", "sorrow"]
    # matplotlib warns of a missing letter, and warnings are errors here.
    draw_confusion(tmp_path / "confusion.png", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], names)
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
