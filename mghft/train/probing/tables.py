"""Scores of prompts as tables and as a Markdown page, and the comparisons in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mghft.pipeline.text import escape_markdown
from mghft.train.evaluation.bootstrap import Difference
from mghft.train.probing.scores import ALL_VIEWS, LabelSummary, ProbeMetrics, PromptScore, Scores

# Above this many prompts only the best is compared with the others; its intervals hold for all pairs anyway.
_MOST_FOR_ALL_PAIRS = 4
_GROUPED_BY = {"picture": "picture", "name": "picture or file name", "folder": "picture or folder"}


@dataclass(frozen=True)
class Table:
    """A table of text; the first cell of a row is the name of a run."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(scores: Scores) -> list[Table]:
    """Return the probes by run and view, the counts by run, and the counts by run and view."""
    found = [_counts(scores.runs), _view_counts(scores.runs)]
    labels = scores.runs[0].labels
    return found if scores.runs[0].probe is None else [_probes(scores.runs, labels), *found]


def _probes(runs: Sequence[PromptScore], labels: LabelSummary) -> Table:
    assert labels.together is not None and labels.majority is not None
    rows = []
    for score in runs:
        for view, metrics in (score.probe or {}).items():
            neighbours = (score.neighbours or {})[view]
            name = "all together" if view == ALL_VIEWS else view
            rows.append([score.run, name, *_metrics(metrics), *_metrics(neighbours)])
    accuracy = f"{labels.majority.accuracy:.1%}"
    rows.append([f"always {labels.majority.label}", "", accuracy, "", accuracy, ""])
    title = (
        f"What the texts tell about the label: {labels.labelled} stickers, {len(labels.labels)} labels, "
        f"{labels.groups} groups of one {_GROUPED_BY[labels.together]}, 95 % intervals"
    )
    header = ["run", "view", "probe: accuracy", "F1 macro", "neighbours: accuracy", "F1 macro"]
    return Table(title, header, rows)


def _metrics(metrics: ProbeMetrics) -> list[str]:
    low, high = metrics.accuracy_interval
    f1_low, f1_high = metrics.f1_macro_interval
    return [
        f"{metrics.accuracy:.1%} ({100 * low:.1f} to {100 * high:.1f})",
        f"{metrics.f1_macro:.2f} ({f1_low:.2f} to {f1_high:.2f})",
    ]


def _counts(runs: Sequence[PromptScore]) -> Table:
    header = ["run", "ok", "finished by", "tokens", "words", "distinct", "cosine", "overlap"]
    header += ["own label", "any label", "refusals", "other language"]
    rows = []
    for score in runs:
        counts = score.counts
        rows.append(
            [
                score.run,
                f"{counts.ok} of {counts.rows}",
                ", ".join(f"{reason} {count}" for reason, count in counts.finish_reasons.items()),
                _number(counts.output_tokens),
                _number(counts.words),
                _share(counts.distinct),
                _decimal(counts.cosine),
                _decimal(counts.overlap),
                _share(counts.own_label),
                _share(counts.any_label),
                _share(counts.refusals),
                _share(counts.wrong_language),
            ]
        )
    return Table("What can be counted", header, rows)


def _view_counts(runs: Sequence[PromptScore]) -> Table:
    header = ["run", "view", "filled", "words", "distinct", "distinct-1", "distinct-2", "cosine", "overlap"]
    header += ["own label", "any label"]
    rows = []
    for score in runs:
        for view, counts in score.counts.views.items():
            rows.append(
                [
                    score.run,
                    view,
                    _share(counts.filled),
                    _number(counts.words),
                    _share(counts.distinct),
                    _decimal(counts.distinct_1),
                    _decimal(counts.distinct_2),
                    _decimal(counts.cosine),
                    _decimal(counts.overlap),
                    _share(counts.own_label),
                    _share(counts.any_label),
                ]
            )
    return Table("The same by view", header, rows)


def sentences(scores: Scores) -> list[str]:
    """Return what the comparisons say, and the notes."""
    pairs = scores.differences
    if len(scores.runs) > _MOST_FOR_ALL_PAIRS and pairs:
        accuracies = [score.whole.accuracy if score.whole else 0.0 for score in scores.runs]
        best = accuracies.index(max(accuracies))
        pairs = [pair for pair in pairs if best in (pair.first, pair.second)]
    names = [score.run for score in scores.runs]
    labelled = scores.runs[0].labels.labelled
    return [comparison(pair, names, labelled) for pair in pairs] + list(scores.notes)


def comparison(pair: Difference, names: Sequence[str], stickers: int) -> str:
    """Return one comparison as a sentence, the better run first.

    Args:
        pair: their difference.
        names: of all runs.
        stickers: that were compared; where they are too few, the sentence says how many would do.
    """
    first, second, value, (low, high) = names[pair.first], names[pair.second], pair.value, pair.interval
    if value < 0:
        first, second, value, low, high = second, first, -value, -high, -low
    span = f"{100 * value:.1f} points of accuracy ({100 * low:+.1f} to {100 * high:+.1f})"
    if pair.significant:
        return f"{first} is better than {second} by {span}"
    start = f"{first} and {second} cannot be told apart on these {stickers} stickers"
    if pair.detectable == 0:
        return f"{start}: both are right on the same ones"
    detectable = f"so many stickers show differences from about {100 * pair.detectable:.0f} points on"
    if pair.needed is None:
        return f"{start}: {span}; {detectable}"
    return f"{start}: {span}; {detectable}, one of {100 * value:.1f} points would take about {pair.needed}"


def markdown(scores: Scores) -> str:
    """Return all tables and sentences as one Markdown page."""
    origin = scores.runs[0].origin
    lines = [
        "# Scores of prompts",
        "",
        f"Corpus {escape_markdown(origin.corpus)}, text encoder {escape_markdown(origin.encoder)}.",
        "",
    ]
    for table in tables(scores):
        lines += [f"## {table.title}", ""]
        lines += [_line(table.header), _line(["---"] * len(table.header)), *map(_line, table.rows), ""]
    said = sentences(scores)
    if said:
        lines += ["## What this says", "", *(f"- {escape_markdown(sentence)}" for sentence in said), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
