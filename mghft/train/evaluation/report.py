"""Writes the report of an evaluation: report.json, report.md, pictures, and one self-contained index.html."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.html import data_url, page_environment
from mghft.train.data.splits import Split
from mghft.train.evaluation.plots import draw_comparison, draw_confusion, draw_curves

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_THUMBNAIL = 144


def write_report(
    folder: Path,
    result: Mapping[str, Any],
    *,
    split: Split,
    probabilities: NDArray[np.float64],
    views: Sequence[str],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    count: int,
    seed: int,
) -> None:
    """Writes everything into `folder`, which must be there.

    Args:
        result: what `evaluate` returns.
        split: the last split judged; stickers are shown from it.
        probabilities: [n, classes] of the main system on it.
        views: names of the views, empty for a run without text.
        histories: metrics.jsonl of every run.
        count: stickers to show.
        seed: of the choice.
    """
    (folder / "report.json").write_text(
        json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "report.md").write_text(markdown(result), encoding="utf-8")
    name = list(result["splits"])[-1]
    confusion = result["splits"][name]["all"][result["main"]]["confusion"]
    draw_comparison(folder / "comparison.png", result)
    draw_confusion(folder / "confusion.png", confusion, result["labels"])
    draw_curves(folder / "curves.png", histories)
    pictures = {
        key: data_url((folder / f"{key}.png").read_bytes(), "image/png")
        for key in ("comparison", "confusion", "curves")
    }
    cards = sticker_cards(split, probabilities, views=views, labels=result["labels"], count=count, seed=seed)
    page = render_page({"result": result, "split": name, "pictures": pictures, "cards": cards})
    (folder / "index.html").write_text(page, encoding="utf-8")


def render_page(values: Mapping[str, Any]) -> str:
    """The HTML page; all text is escaped, for descriptions come from a model that read untrusted images."""
    return page_environment(TEMPLATES).get_template("report.html.j2").render(**values)


def choose_stickers(right: NDArray[np.bool_], count: int, seed: int) -> list[int]:
    """Indices of stickers to show, in order of the split: half of them wrong where there are so many."""
    rng = np.random.default_rng(seed)
    wrong_rows, right_rows = rng.permutation(np.flatnonzero(~right)), rng.permutation(np.flatnonzero(right))
    wrong_count = min(len(wrong_rows), max(count // 2, count - len(right_rows)))
    chosen = [*wrong_rows[:wrong_count], *right_rows[: count - wrong_count]]
    return sorted(int(index) for index in chosen)


def sticker_cards(
    split: Split,
    probabilities: NDArray[np.float64],
    *,
    views: Sequence[str],
    labels: Sequence[str],
    count: int,
    seed: int,
) -> list[dict[str, Any]]:
    """What the page shows of each chosen sticker."""
    predicted = probabilities.argmax(1)
    cards = []
    for index in choose_stickers(predicted == split.labels, count, seed):
        sticker, row = split.stickers[index], probabilities[index]
        texts = ("",) * len(views) if split.descriptions is None else split.descriptions.texts[index]
        order = np.argsort(-row)[:3]
        cards.append(
            {
                "id": sticker.id,
                "part": sticker.subset,
                "image": _thumbnail(split, index),
                "true": sticker.label_name,
                "predicted": labels[int(predicted[index])],
                "right": bool(predicted[index] == split.labels[index]),
                "confidence": float(row.max()),
                "top": [(labels[int(i)], float(row[i])) for i in order],
                "views": list(zip(views, texts, strict=True)),
            }
        )
    return cards


def markdown(result: Mapping[str, Any]) -> str:
    """report.md: one table per split and part, differences, and figures per class."""
    lines = [f"# Report: {result['corpus']}", ""]
    for split, parts in result["splits"].items():
        for part, systems in parts.items():
            count = next(iter(systems.values()))["count"]
            title = split if part == "all" else f"{split}, {part}"
            lines += [f"## {title} ({count} stickers)", ""]
            lines.append(
                "| system | accuracy (95 %) | precision macro | recall macro | F1 macro | F1 weighted |"
            )
            lines.append("|---|---|---|---|---|---|")
            for name in result["systems"]:
                figures = systems[name]
                low, high = figures["accuracy_interval"]
                lines.append(
                    f"| {name} | {figures['accuracy']:.1%} ({low:.1%} to {high:.1%}) "
                    f"| {figures['precision_macro']:.3f} | {figures['recall_macro']:.3f} "
                    f"| {figures['f1_macro']:.3f} | {figures['f1_weighted']:.3f} |"
                )
            lines.append("")
            for other, gain in result["differences"][split][part].items():
                low, high = gain["interval"]
                lines.append(
                    f"- {result['main']} minus {other}: {100 * gain['accuracy_gain']:+.1f} points "
                    f"({100 * low:+.1f} to {100 * high:+.1f})"
                )
            lines.append("")
    last = list(result["splits"])[-1]
    lines += [f"## {result['main']} by class ({last})", "", "| class | n | precision | recall | F1 |"]
    lines.append("|---|---|---|---|---|")
    for label, figures in result["splits"][last]["all"][result["main"]]["per_class"].items():
        lines.append(
            f"| {label} | {figures['count']} | {figures['precision']:.3f} | {figures['recall']:.3f} "
            f"| {figures['f1']:.3f} |"
        )
    lines += ["", "![comparison](comparison.png)", "![confusion](confusion.png)", "![curves](curves.png)", ""]
    return "\n".join(lines)


def _thumbnail(split: Split, index: int) -> str | None:
    try:
        image = split.images[index]
    except ValueError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return data_url(stream.getvalue(), "image/png")
