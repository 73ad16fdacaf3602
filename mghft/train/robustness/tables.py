"""Robustness as files: Markdown, CSV, JSON, predictions, and one figure of all differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from mghft.pipeline.files import check_folder, write_json, write_text
from mghft.pipeline.predictions import FILE_NAME, write_predictions
from mghft.pipeline.text import escape_markdown
from mghft.train.comparison.pairs import p_text
from mghft.train.comparison.results import SeedMetric
from mghft.train.evaluation.plots import COLOURS, legend_above, save_figure
from mghft.train.robustness.measure import ConditionResult, Robustness

HEADER = ("system", "condition", "accuracy", "95 %", "F1 macro", "difference", "95 %", "p (Holm)", "note")
NUMERIC = tuple(range(2, 8))


def write_robustness(out: Path, found: Robustness, predictions: pa.Table) -> None:
    """Write robustness.json, .md, .csv, .png and predictions.parquet, each as a whole.

    Raises:
        ValueError: `out` is a file.
        OSError: a file cannot be written.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out / FILE_NAME, predictions)
    write_json(out / "robustness.json", asdict(found))
    write_text(out / "robustness.md", markdown(found))
    write_text(out / "robustness.csv", _csv(found))
    draw_differences(out / "robustness.png", found)


def result_row(result: ConditionResult) -> list[str]:
    """Return the cells of a result under `HEADER`."""
    accuracy, f1, difference = result.accuracy, result.f1_macro, result.difference
    low, high = accuracy.interval
    cells = [result.system, result.condition.name, _mean(accuracy), f"{100 * low:.1f} to {100 * high:.1f}"]
    cells.append(_mean(f1))
    if difference is None:
        cells += ["", "", ""]
    else:
        low, high = difference.interval
        cells += [f"{100 * difference.value:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]
        cells.append(p_text(difference.p_holm).removeprefix("= "))
    return [*cells, result.condition.note]


def markdown(found: Robustness) -> str:
    """Return robustness.md: one table of all systems and conditions."""
    lines = [f"# Robustness on {escape_markdown(found.split)} ({found.stickers} stickers)", ""]
    lines += [
        "Percent, mean ± sd over seeds; differences are to the same system undisturbed, on the same "
        "stickers, "
        "and p is corrected over the conditions of a system (Holm).",
        "",
        *(f"- {escape_markdown(note)}" for note in found.notes),
        "",
        f"| {' | '.join(HEADER)} |",
        "|---|---|" + "---:|" * len(NUMERIC) + "---|",
    ]
    for result in found.results:
        lines.append(f"| {' | '.join(escape_markdown(cell) for cell in result_row(result))} |")
    return "\n".join([*lines, ""])


def draw_differences(path: Path, found: Robustness) -> None:
    """Draw the difference of accuracy under every condition with its 95 % interval; raises OSError.

    Args:
        path: of the PNG.
        found: the results; a dot per system, in rows of conditions.
    """
    changed = [result for result in found.results if result.difference is not None]
    names = list(dict.fromkeys(result.condition.name for result in changed))
    systems = list(dict.fromkeys(result.system for result in changed))
    figure = Figure(figsize=(9.5, 1.2 + 0.3 * len(names) * max(1, len(systems) / 2)))
    axes = figure.subplots()
    for place, system in enumerate(systems):
        rows = {result.condition.name: result for result in changed if result.system == system}
        shift = (place - (len(systems) - 1) / 2) * 0.6 / max(1, len(systems))
        y = [names.index(name) + shift for name in rows]
        values, low, high = _errors(list(rows.values()))
        axes.errorbar(
            values,
            y,
            xerr=[low, high],
            fmt="o",
            markersize=4,
            label=system,
            color=COLOURS[(3 + place) % len(COLOURS)],
            capsize=2,
        )
    axes.axvline(0, color="#2b3040", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"difference of accuracy on {found.split}, points (95 % interval)")
    legend_above(axes, min(3, len(systems)))
    save_figure(figure, [axes], path)


def _errors(results: Sequence[ConditionResult]) -> tuple[list[float], list[float], list[float]]:
    """Return points, and how far the interval reaches to either side."""
    pairs = [result.difference for result in results if result.difference is not None]
    values = [100 * pair.value for pair in pairs]
    low = [100 * (pair.value - pair.interval[0]) for pair in pairs]
    high = [100 * (pair.interval[1] - pair.value) for pair in pairs]
    return values, np.maximum(low, 0).tolist(), np.maximum(high, 0).tolist()


def _csv(found: Robustness) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(result_row(result) for result in found.results)
    return stream.getvalue()


def _mean(metric: SeedMetric) -> str:
    spread = "" if metric.deviation is None else f" ± {100 * metric.deviation:.1f}"
    return f"{100 * metric.mean:.1f}{spread}"
