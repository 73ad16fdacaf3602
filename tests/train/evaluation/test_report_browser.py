"""The report on a desk and on a phone, light and dark; names in any script in its charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import layout, needs_chromium
from PIL import Image

from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.data.descriptions import Descriptions
from mghft.train.data.splits import Split
from mghft.train.evaluation import fonts
from mghft.train.evaluation.annotators import annotator_kappa
from mghft.train.evaluation.fonts import legible
from mghft.train.evaluation.page_parts import confusion_rows, reliability
from mghft.train.evaluation.plots import draw_confusion
from mghft.train.evaluation.probability_metrics import calibration_error
from mghft.train.evaluation.report import write_report
from mghft.train.evaluation.results import Evaluation, RunSummary
from mghft.train.evaluation.split_metrics import accuracy_gains, evaluate_split

LABELS = ("joy", "悲伤", "a class with a rather long name")
COUNT = 30
RUN = {"use_text": True, "recipe": "cpu", "epochs": 2, "epochs_done": 2, "best_epoch": 1}


def split() -> Split:
    rng = np.random.default_rng(0)
    stickers = [
        Sticker(
            f"folder/a-long-name-without-any-space-in-it-{n}.png",
            "x.png",
            "test",
            n % 3,
            LABELS[n % 3],
            subset=("seen", "a subset")[n % 2],
            votes=(n % 3, (n + n % 2) % 3),
        )
        for n in range(COUNT)
    ]
    images: Any = [Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)) for _ in stickers]
    texts = [("A" + "very" * 40, "", "short", "text <b>with</b> marks") for _ in stickers]
    described = Descriptions(texts, np.array([[bool(text) for text in row] for row in texts]))
    return Split(stickers, np.arange(COUNT) % 3, images, described, None, None)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    systems = {f"A system of a long name, number {n}": rng.dirichlet([1, 1, 1], COUNT) for n in range(6)}
    systems["MGHFT"] = rng.dirichlet([0.4, 0.4, 0.4], COUNT)
    test, how = split(), {"seed": 0, "rounds": 100}
    people = annotator_kappa(test.stickers, {name: rows.argmax(1) for name, rows in systems.items()})
    assert people is not None
    evaluation = Evaluation(
        corpus="Stickers-with-a-name-that-never-ends-" * 3,
        labels=list(LABELS),
        main="MGHFT",
        systems=list(systems),
        runs={"MGHFT": RunSummary(**RUN, best_validation_accuracy=0.5, training_seconds=60.0)},
        text_only_strength=None,
        splits={"test": evaluate_split(test, systems, LABELS, **how, temperatures={"MGHFT": 2.5})},
        differences={"test": accuracy_gains(test, systems, "MGHFT", **how)},
        annotators={"test": people},
    )
    line = {
        "epoch": 1,
        "classification_loss": 1.0,
        "validation_loss": 1.0,
        "validation_accuracy": 0.5,
        "best": True,
    }
    write_report(
        tmp_path,
        evaluation,
        split=test,
        probabilities=systems["MGHFT"],
        views=("content", "style", "intention", "details"),
        histories={"MGHFT": [line, {**line, "epoch": 2}]},
        count=8,
        seed=0,
    )
    return tmp_path / "index.html"


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_report_fits_and_can_be_read(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    found = layout(page, tmp_path, width, dark=dark)
    assert found["width"] == found["visible"] == width
    assert found["images"] == 9 and found["broken"] == found["without_alt"] == 0
    assert found["low_contrast"] == [] and found["unreachable"] == 0


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
