"""Plots of the report: training curves, comparison of the systems, confusion matrix (PNG, no display)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mghft.pipeline.files import write_bytes
from mghft.train.evaluation.fonts import font_families, legible
from mghft.train.evaluation.results import SOURCE, WHOLE, SystemMetrics

COLOURS = ("#9aa3b2", "#e0a33a", "#4c9f8a", "#4361c2", "#a5568f", "#c25b43", "#6a6f2f")
INK = "#2b3040"


def draw_comparison(
    path: Path, splits: Mapping[str, Mapping[str, Mapping[str, SystemMetrics]]], systems: Sequence[str]
) -> None:
    """Draw the accuracy of every system by split and subset, in %, with 95 % intervals.

    Labels by source are left to the tables.

    Args:
        path: of the PNG.
        splits: metrics by split, subset and system.
        systems: in the order of the bars.

    Raises:
        OSError: it cannot be written.
    """
    groups = [
        (split if subset == WHOLE else f"{split}\n{subset}", metrics)
        for split, subsets in splits.items()
        for subset, metrics in subsets.items()
        if not subset.startswith(SOURCE)
    ]
    # Room for three digits in every bar, and for the legend in one line.
    figure = Figure(figsize=(max(7.0, 0.42 * len(systems) * len(groups), 1.9 * len(systems)), 4.2))
    axes = figure.subplots()
    width = 0.84 / len(systems)
    for place, system in enumerate(systems):
        accuracy = np.array([metrics[system].accuracy for _, metrics in groups])
        interval = np.array([metrics[system].accuracy_interval for _, metrics in groups])
        error = np.clip(np.stack([accuracy - interval[:, 0], interval[:, 1] - accuracy]), 0, None)
        x = np.arange(len(groups)) + (place - (len(systems) - 1) / 2) * width
        axes.bar(
            x,
            accuracy,
            width * 0.92,
            # As lists: matplotlib takes an array of one group for a number.
            yerr=error.tolist(),
            label=system,
            color=COLOURS[place % len(COLOURS)],
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        )
        for left, value in zip(x, accuracy, strict=True):
            axes.text(left, 0.012, f"{100 * value:.0f}", ha="center", va="bottom", fontsize=8, color="white")
    names = [f"{name}\n(n={metrics[systems[0]].count})" for name, metrics in groups]
    axes.set_xticks(np.arange(len(groups)), names)
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy (numbers in %), 95 % interval")
    legend_above(axes, min(len(systems), 4))
    save_figure(figure, [axes], path)


def draw_confusion(path: Path, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    """Draw counts [classes, classes], rows true, coloured by share of the true label; raises OSError."""
    counts, names = np.asarray(confusion), legible(labels)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 1.8 + 0.62 * len(labels)
    figure = Figure(figsize=(size + 0.7, size))
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            colour = "white" if share[row, column] > 0.55 else INK
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9
            )
    fonts = font_families([name for name in names if name])
    axes.set_xticks(range(len(labels)), names, rotation=40, ha="right", fontfamily=fonts)
    axes.set_yticks(range(len(labels)), names, fontfamily=fonts)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    save_figure(figure, [], path)


def draw_curves(path: Path, histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw losses and validation accuracy by epoch; a ring marks the best weights.

    Args:
        path: of the PNG.
        histories: lines of metrics.jsonl by run.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(10, 3.6))
    losses, accuracy = figure.subplots(1, 2)
    keys = [Line2D([], [], color=INK, label="train"), Line2D([], [], color=INK, ls="--", label="validation")]
    for place, (name, lines) in enumerate(histories.items()):
        colour = COLOURS[(3 - place) % len(COLOURS)]
        epochs = [line["epoch"] for line in lines]
        keys.insert(-2, Line2D([], [], color=colour, label=name))
        losses.plot(epochs, [line["classification_loss"] for line in lines], color=colour)
        losses.plot(epochs, [line["validation_loss"] for line in lines], color=colour, linestyle="--")
        values = [line["validation_accuracy"] for line in lines]
        accuracy.plot(epochs, values, color=colour)
        best = [line for line in lines if line["best"]]
        if best:
            accuracy.plot(
                best[-1]["epoch"],
                best[-1]["validation_accuracy"],
                "o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor=colour,
            )
    losses.set_ylabel("classification loss")
    accuracy.set_ylabel("validation accuracy")
    for axes in (losses, accuracy):
        axes.set_xlabel("epoch")
    if histories:
        # Of both axes: seven runs would cover either.
        figure.legend(
            handles=keys,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.9),
            ncols=min(4, len(keys)),
            frameon=False,
            fontsize=8,
        )
    save_figure(figure, [losses, accuracy], path)


def draw_training(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Draw one run by epoch: losses of training and validation, alignment per stage, validation metrics.

    Args:
        path: of the PNG.
        lines: of metrics.jsonl.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(13.5, 3.6))
    losses, alignment, validation = figure.subplots(1, 3)
    epochs = [line["epoch"] for line in lines]

    def draw(axes: Axes, name: str, label: str, place: int, style: str = "-") -> None:
        values = [line[name] for line in lines]
        # One epoch makes no line.
        axes.plot(
            epochs, values, style, color=COLOURS[place], label=label, marker="." if len(lines) == 1 else ""
        )

    draw(losses, "classification_loss", "train", 3)
    draw(losses, "validation_loss", "validation", 3, "--")
    stages = [name for name in lines[0] if name.startswith("alignment_loss_stage")] if lines else []
    for place, name in enumerate(stages):
        draw(alignment, name, f"stage {name[-1]}", place + 1)
    draw(validation, "validation_accuracy", "accuracy", 3)
    draw(validation, "validation_f1_macro", "F1 macro", 1)
    for axes, title in (
        (losses, "classification loss"),
        (alignment, "alignment loss"),
        (validation, "validation"),
    ):
        axes.set_ylabel(title)
        axes.set_xlabel("epoch")
        if axes.lines:
            legend_above(axes, 2, fontsize=8)
    save_figure(figure, [losses, alignment, validation], path)


def legend_above(axes: Axes, columns: int, **options: Any) -> None:
    """Put the legend above the axes, in as many lines as it takes: inside it would cover what is drawn."""
    axes.legend(ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, **options)


def save_figure(figure: Figure, plain: Sequence[Axes], path: Path) -> None:
    """Write a figure as a PNG without frames about its plain axes; raises OSError."""
    for axes in plain:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6ec", linewidth=0.8)
        axes.set_axisbelow(True)
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130, bbox_inches="tight", facecolor="white")
    write_bytes(path, stream.getvalue())
