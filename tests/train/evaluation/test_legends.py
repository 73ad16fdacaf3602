"""No legend lies on what is drawn, with seven systems of long names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from page_samples import SYSTEMS, report

from mghft.pipeline.audit.figures import draw_classes
from mghft.train.comparison.results import Pair, SeedMetric
from mghft.train.evaluation.plots import draw_training
from mghft.train.robustness.conditions import Condition
from mghft.train.robustness.measure import ConditionResult, Robustness
from mghft.train.robustness.tables import draw_differences


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written."""
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (save(self, *a, **k), figures.append(self))[0]
    )
    return figures


def covered(figure: Figure) -> Iterator[tuple[str, float]]:
    """Legends that lie on axes, with the height in pixels that they cover."""
    figure.canvas.draw()
    legends = [*figure.legends, *(one for axes in figure.axes if (one := axes.get_legend()) is not None)]
    assert legends or len(figure.axes) == 1
    for legend in legends:
        box = legend.get_window_extent()
        for axes in figure.axes:
            inside = axes.get_window_extent()
            if box.x0 < inside.x1 and inside.x0 < box.x1 and box.y0 < inside.y1 - 1 and inside.y0 < box.y1:
                yield legend.get_texts()[0].get_text(), inside.y1 - box.y0


def test_legends_of_the_report(drawn: list[Figure], tmp_path: Path) -> None:
    report(tmp_path / "report")
    comparison, confusion, curves = drawn
    names = [text.get_text() for text in comparison.axes[0].get_legend().get_texts()]
    assert names == SYSTEMS
    assert [text.get_text() for text in curves.legends[0].get_texts()] == [*SYSTEMS, "train", "validation"]
    assert list(covered(comparison)) == list(covered(curves)) == list(covered(confusion)) == []


def test_legends_of_one_training(drawn: list[Figure], tmp_path: Path) -> None:
    names = ["classification_loss", "validation_loss", "validation_accuracy", "validation_f1_macro"]
    names += [f"alignment_loss_stage{stage}" for stage in range(1, 5)]
    lines: list[dict[str, Any]] = [{"epoch": epoch, **dict.fromkeys(names, 1.0)} for epoch in (1, 2, 3)]
    draw_training(tmp_path / "curves.png", lines)
    [figure] = drawn
    assert len(figure.axes[1].get_legend().get_texts()) == 4
    assert list(covered(figure)) == []


def test_legend_of_robustness(drawn: list[Figure], tmp_path: Path) -> None:
    metric = SeedMetric(0.5, None, [0.5], (0.4, 0.6), None)
    pair = Pair("a", "b", "accuracy", -0.1, (-0.2, 0.0), 0.1, 0.1, "exact", [1], [2], [0.5], None, False, "")
    results = [
        ConditionResult(system, Condition("views", level), metric, metric, pair)
        for system in SYSTEMS
        for level in ("one", "two")
    ]
    draw_differences(tmp_path / "d.png", Robustness("test", 30, {}, results, []))
    assert list(covered(drawn[0])) == []


def test_legend_of_a_corpus(drawn: list[Figure], tmp_path: Path) -> None:
    labels = {f"label {number}": 10 for number in range(7)}
    splits = {f"a-long-name-of-a-split-{number}": labels for number in range(4)}
    draw_classes(tmp_path / "classes.png", splits)
    assert list(covered(drawn[0])) == []
