"""Scores of prompts as tables, for the terminal and as Markdown, and the comparisons in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mghft.train.evaluation.bootstrap import Difference
from mghft.train.probing.score import TOGETHER, Scores

# Above this many prompts only the best is compared with the others; its intervals hold for all pairs anyway.
_MOST_FOR_ALL_PAIRS = 4


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns and cells of text."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(scores: Scores) -> list[Table]:
    """What is shown: the probes by run and view, the counts by run, the counts by run and view."""
    probed = [score for score in scores.runs if score["probe"] is not None]
    return [*([_probes(probed)] if probed else []), _counts(scores.runs), _view_counts(scores.runs)]


def _probes(runs: Sequence[dict[str, Any]]) -> Table:
    rows = []
    for score in runs:
        for view in score["probe"]:
            cells = ["all together" if view == TOGETHER else view]
            for method in ("probe", "neighbours"):
                figures = score[method][view]
                low, high = figures["accuracy_interval"]
                cells.append(f"{figures['accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})")
                low, high = figures["f1_macro_interval"]
                cells.append(f"{figures['f1_macro']:.2f} ({low:.2f} to {high:.2f})")
            rows.append([score["run"], *cells])
    first = runs[0]
    guess = first["majority"]
    rows.append(
        [f"always {guess['label']}", "", f"{guess['accuracy']:.1%}", "", f"{guess['accuracy']:.1%}", ""]
    )
    kept = {"picture": "picture", "name": "picture or file name", "folder": "picture or folder"}
    title = (
        f"What the texts tell about the label: {first['labelled']} stickers, {len(first['labels'])} labels, "
        f"{first['groups']} groups of one {kept[first['together']]}, 95 % intervals"
    )
    heads = ["run", "view", "probe: accuracy", "F1 macro", "neighbours: accuracy", "F1 macro"]
    return Table(title, heads, rows)


def _counts(runs: Sequence[dict[str, Any]]) -> Table:
    heads = ["run", "ok", "finished by", "tokens", "words", "distinct", "cosine", "overlap"]
    heads += ["own label", "any label", "refusals", "other language"]
    rows = []
    for score in runs:
        counts = score["counts"]
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts["finish_reasons"].items())
        rows.append(
            [
                score["run"],
                f"{counts['ok']} of {counts['rows']}",
                reasons,
                _number(counts["output_tokens"]),
                _number(counts["words"]),
                _share(counts["distinct"]),
                _decimal(counts["cosine"]),
                _decimal(counts["overlap"]),
                *(_share(counts[k]) for k in ("own_label", "any_label", "refusals", "wrong_language")),
            ]
        )
    return Table("What can be counted", heads, rows)


def _view_counts(runs: Sequence[dict[str, Any]]) -> Table:
    heads = ["run", "view", "filled", "words", "distinct", "distinct-1", "distinct-2", "cosine", "overlap"]
    heads += ["own label", "any label"]
    rows = []
    for score in runs:
        for view, counts in score["counts"]["views"].items():
            rows.append(
                [
                    score["run"],
                    view,
                    _share(counts["filled"]),
                    _number(counts["words"]),
                    _share(counts["distinct"]),
                    *(_decimal(counts[k]) for k in ("distinct_1", "distinct_2", "cosine", "overlap")),
                    *(_share(counts[k]) for k in ("own_label", "any_label")),
                ]
            )
    return Table("The same by view", heads, rows)


def sentences(scores: Scores) -> list[str]:
    """What the comparisons say, and the notes."""
    pairs = scores.differences
    if len(scores.runs) > _MOST_FOR_ALL_PAIRS and pairs:
        best = max(range(len(scores.runs)), key=lambda number: scores.runs[number]["accuracy"])
        pairs = [pair for pair in pairs if best in (pair.first, pair.second)]
    names = [score["run"] for score in scores.runs]
    return [compared(pair, names, scores.runs[0]["labelled"]) for pair in pairs] + list(scores.notes)


def compared(pair: Difference, names: Sequence[str], stickers: int) -> str:
    """One comparison, the better run first; where the stickers are too few, how many would do."""
    first, second, value, (low, high) = names[pair.first], names[pair.second], pair.value, pair.interval
    if value < 0:
        first, second, value, low, high = second, first, -value, -high, -low
    span = f"{100 * value:.1f} points of accuracy ({100 * low:+.1f} to {100 * high:+.1f})"
    if pair.told_apart:
        return f"{first} is better than {second} by {span}"
    start = f"{first} and {second} cannot be told apart on these {stickers} stickers"
    if pair.shows == 0:
        return f"{start}: both are right on the same ones"
    shown = f"{start}: {span}; so many stickers show differences from about {100 * pair.shows:.0f} points on"
    if pair.needed is None:
        return shown
    return f"{shown}, one of {100 * value:.1f} points would take about {pair.needed}"


def as_text(table: Table) -> list[str]:
    """Aligned columns; a run's name stands once, before its first row."""
    from rich.cells import cell_len

    shown = [list(table.heads)]
    before = None
    for row in table.rows:
        shown.append(["" if row[0] == before else row[0], *row[1:]])
        before = row[0]
    widths = [max(cell_len(row[column]) for row in shown) for column in range(len(table.heads))]
    lines = [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in shown
    ]
    return [table.title, "", *(f"  {line}" for line in lines), ""]


def markdown(scores: Scores) -> str:
    """All tables and sentences as one Markdown page."""
    first = scores.runs[0]
    lines = [
        "# Scores of prompts",
        "",
        f"Corpus {_cell(first['corpus'])}, text encoder {_cell(first['encoder'])}.",
        "",
    ]
    for table in tables(scores):
        lines += [f"## {table.title}", ""]
        lines += [_line(table.heads), _line(["---"] * len(table.heads)), *map(_line, table.rows), ""]
    said = sentences(scores)
    if said:
        lines += ["## What this says", "", *(f"- {_cell(sentence)}" for sentence in said), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    """Names of runs and labels come from elsewhere: nothing in them ends a cell or begins a tag."""
    safe = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
