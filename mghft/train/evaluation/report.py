"""Report of an evaluation: report.json, report.md, topics.csv, pictures, one self-contained index.html."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.html import data_url, picture_url, write_page
from mghft.pipeline.text import escape_markdown
from mghft.train.data.splits import Split
from mghft.train.evaluation.annotators import AnnotatorKappa
from mghft.train.evaluation.page_parts import accuracy_forest, confusion_rows, reliability
from mghft.train.evaluation.plots import draw_comparison, draw_confusion, draw_curves
from mghft.train.evaluation.results import SOURCE, WHOLE, AccuracyGain, Evaluation, SystemMetrics
from mghft.train.evaluation.topics import TopicMetrics, topic_lines, topics_csv

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_THUMBNAIL = 144
_TOP = 3
TOPICS = "topics.csv"


@dataclass(frozen=True)
class StickerCard:
    """One sticker on the page: what is known of it, and what the main system predicts.

    Attributes:
        image: its address, None where the image cannot be read.
        top: the most probable labels, each with its probability.
        views: name and text of each view of its description.
    """

    id: str
    subset: str | None
    image: str | None
    true: str | None
    predicted: str
    right: bool
    confidence: float
    top: list[tuple[str, float]]
    views: list[tuple[str, str]]


def write_report(
    folder: Path,
    evaluation: Evaluation,
    *,
    split: Split,
    probabilities: NDArray[np.float64],
    views: Sequence[str],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    count: int,
    seed: int,
    topics: Mapping[str, Mapping[str, Sequence[TopicMetrics]]] | None = None,
) -> None:
    """Write all files of a report, each as a whole.

    Args:
        folder: must exist.
        evaluation: its results.
        split: the last split evaluated; stickers are shown from it.
        probabilities: [n, classes] of the main system on it.
        views: names of the views, empty for a run without text.
        histories: lines of metrics.jsonl by run.
        count: stickers to show.
        seed: of the choice.
        topics: every topic by split and system, where the corpus has topics.

    Raises:
        OSError: a file cannot be written; it is as before.
    """
    write_json(folder / "report.json", asdict(evaluation))
    write_text(folder / "report.md", markdown(evaluation))
    if topics:
        write_text(folder / TOPICS, topics_csv(topics))
    else:
        # Of an earlier evaluation in this folder.
        (folder / TOPICS).unlink(missing_ok=True)
    last = list(evaluation.splits)[-1]
    confusion = evaluation.splits[last][WHOLE][evaluation.main].confusion
    draw_comparison(folder / "comparison.png", evaluation.splits, evaluation.systems)
    draw_confusion(folder / "confusion.png", confusion, evaluation.labels)
    draw_curves(folder / "curves.png", histories)
    temperature = evaluation.splits[last][WHOLE][evaluation.main].probabilities.temperature
    facts = {
        "result": evaluation,
        "split": last,
        "pictures": {"curves": data_url((folder / "curves.png").read_bytes(), "image/png")},
        "forests": [
            {"title": _title(name, subset), "rows": accuracy_forest(systems)}
            for name, subsets in evaluation.splits.items()
            for subset, systems in subsets.items()
            if not subset.startswith(SOURCE)
        ],
        "topic_lines": list(_topic_lines(evaluation)),
        "hardest": [] if last not in evaluation.topics else evaluation.topics[last][evaluation.main].hardest,
        "annotators": [f"{name}: {annotator_line(people)}" for name, people in evaluation.annotators.items()],
        "confusion": list(zip(evaluation.labels, confusion_rows(confusion), strict=True)),
        "raw": reliability(split.labels, probabilities),
        "mended": None if temperature is None else reliability(split.labels, probabilities, temperature),
        "cards": sticker_cards(
            split, probabilities, views=views, labels=evaluation.labels, count=count, seed=seed
        ),
    }
    write_page(folder / "index.html", "report.html.j2", facts, TEMPLATES)


def select_stickers(right: NDArray[np.bool_], count: int, seed: int) -> list[int]:
    """Select stickers to show, half of them predicted wrong where there are so many.

    Args:
        right: [n], whether the prediction is right.
        count: stickers to select.
        seed: of the choice.

    Returns:
        Indices, in the order of the split.
    """
    rng = np.random.default_rng(seed)
    wrong_rows, right_rows = rng.permutation(np.flatnonzero(~right)), rng.permutation(np.flatnonzero(right))
    wrong_count = min(len(wrong_rows), max(count // 2, count - len(right_rows)))
    selected = [*wrong_rows[:wrong_count], *right_rows[: count - wrong_count]]
    return sorted(int(index) for index in selected)


def sticker_cards(
    split: Split,
    probabilities: NDArray[np.float64],
    *,
    views: Sequence[str],
    labels: Sequence[str],
    count: int,
    seed: int,
) -> list[StickerCard]:
    """Return the cards of selected stickers; arguments as of `write_report`."""
    predicted = probabilities.argmax(1)
    cards = []
    for index in select_stickers(predicted == split.labels, count, seed):
        sticker, row = split.stickers[index], probabilities[index]
        texts = ("",) * len(views) if split.descriptions is None else split.descriptions.texts[index]
        cards.append(
            StickerCard(
                id=sticker.id,
                subset=sticker.subset,
                image=_thumbnail(split, index),
                true=sticker.label_name,
                predicted=labels[int(predicted[index])],
                right=bool(predicted[index] == split.labels[index]),
                confidence=float(row.max()),
                top=[(labels[int(i)], float(row[i])) for i in np.argsort(-row)[:_TOP]],
                views=list(zip(views, texts, strict=True)),
            )
        )
    return cards


def markdown(evaluation: Evaluation) -> str:
    """Return report.md: a table per split and subset, differences, and metrics per class."""
    main = evaluation.main
    lines = [f"# Report: {escape_markdown(evaluation.corpus)}", ""]
    for split, subsets in evaluation.splits.items():
        for subset, systems in subsets.items():
            lines += [f"## {escape_markdown(_title(split, subset))} ({systems[main].count} stickers)", ""]
            lines += _metrics_table({name: systems[name] for name in evaluation.systems})
            lines += ["", *_gains(main, evaluation.differences[split][subset]), ""]
            lines += [*_probability_table({name: systems[name] for name in evaluation.systems}), ""]
            lines += [line for note in evaluation.notes for line in (escape_markdown(note), "")]
        if (people := evaluation.annotators.get(split)) is not None:
            lines += [annotator_line(people), ""]
    lines += _topic_section(evaluation)
    last = list(evaluation.splits)[-1]
    lines += [f"## {escape_markdown(main)} by class ({last})", ""]
    lines += ["| class | n | precision | recall | F1 |", "|---|---|---|---|---|"]
    for label, row in evaluation.splits[last][WHOLE][main].per_class.items():
        cells = f"{row.count} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f}"
        lines.append(f"| {escape_markdown(label)} | {cells} |")
    pictures = ("comparison", "confusion", *(("curves",) if evaluation.runs else ()))
    lines += ["", *(f"![{name}]({name}.png)" for name in pictures), ""]
    return "\n".join(lines)


def _topic_lines(evaluation: Evaluation) -> Iterator[str]:
    for split, systems in evaluation.topics.items():
        yield from topic_lines(split, systems)


def _topic_section(evaluation: Evaluation) -> Iterator[str]:
    """Yield the figures over topics, and the hardest ones of the main system on the last split."""
    if not evaluation.topics:
        return
    yield from ("## Topics", "")
    yield from (f"- {escape_markdown(line)}" for line in _topic_lines(evaluation))
    yield from ("", f"Every topic of every system: [{TOPICS}]({TOPICS}).", "")
    split = list(evaluation.topics)[-1]
    if hardest := evaluation.topics[split][evaluation.main].hardest:
        name = escape_markdown(evaluation.main)
        yield f"| hardest topics of {name} ({split}) | n | accuracy (95 %, Wilson) |"
        yield "|---|---|---|"
        for row in hardest:
            low, high = row.interval
            cells = f"{row.count} | {row.accuracy:.1%} ({low:.1%} to {high:.1%})"
            yield f"| {escape_markdown(row.topic)} | {cells} |"
        yield ""


def _title(split: str, subset: str) -> str:
    return split if subset == WHOLE else f"{split}, {subset}"


def _metrics_table(systems: Mapping[str, SystemMetrics]) -> Iterator[str]:
    yield "| system | accuracy (95 %) | precision macro | recall macro | F1 macro | F1 weighted |"
    yield "|---|---|---|---|---|---|"
    for name, metrics in systems.items():
        low, high = metrics.accuracy_interval
        accuracy = f"{metrics.accuracy:.1%} ({low:.1%} to {high:.1%})"
        yield (
            f"| {escape_markdown(name)} | {accuracy} | {metrics.precision_macro:.3f} "
            f"| {metrics.recall_macro:.3f} | {metrics.f1_macro:.3f} | {metrics.f1_weighted:.3f} |"
        )


def _probability_table(systems: Mapping[str, SystemMetrics]) -> Iterator[str]:
    yield "| system | MCC | kappa | top 2 | mAP | log loss | Brier | ECE | ECE, calibrated |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, metrics in systems.items():
        p = metrics.probabilities
        cells: tuple[float | None, ...] = (metrics.mcc, metrics.kappa, p.top_k.get(2))
        cells += (p.mean_average_precision, p.log_loss, p.brier, p.ece, p.ece_calibrated)
        yield f"| {escape_markdown(name)} | {' | '.join(_number(cell) for cell in cells)} |"


def annotator_line(people: AnnotatorKappa) -> str:
    """Return how far the systems agree with single annotators, and these among themselves."""
    systems = ", ".join(f"{escape_markdown(name)} {value:.3f}" for name, value in people.systems.items())
    return (
        f"Cohen's kappa with each of {people.annotators} annotators, mean: {systems}; the annotators among "
        f"themselves {people.human:.3f} ({people.stickers} stickers)"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _gains(main: str, gains: Mapping[str, AccuracyGain]) -> Iterator[str]:
    for other, gain in gains.items():
        low, high = gain.interval
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}"
        names = f"{escape_markdown(main)} minus {escape_markdown(other)}"
        yield f"- {names}: {100 * gain.accuracy_gain:+.1f} points ({interval})"


def _thumbnail(split: Split, index: int) -> str | None:
    try:
        image = split.images[index]
    except ValueError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture_url(image)
