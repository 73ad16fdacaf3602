"""Tables of experiments as Markdown, LaTeX (booktabs), CSV and one HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from mghft.pipeline.html import page_environment
from mghft.pipeline.text import escape_markdown
from mghft.train.comparison.pairs import p_text
from mghft.train.comparison.results import SeedMetric
from mghft.train.evaluation.results import WHOLE
from mghft.train.experiments.table import ExperimentTable, TableRow

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
FORMATS = ("markdown", "latex", "csv", "html")
_METRICS = {"accuracy": "acc.", "f1_macro": "F1 macro", "f1_weighted": "F1 weighted"}
_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "<": "$<$",
}


def header(tables: Sequence[ExperimentTable]) -> list[str]:
    """Return the names of the columns; those of differences and published figures where there are any."""
    cells = ["system", "seeds", "accuracy", "95 %", "F1 macro", "95 %", "log loss", "ECE"]
    rows = [row for table in tables for row in table.rows]
    if any(row.pair for row in rows):
        cells += ["difference", "p (Holm)"]
    cells += ["train min", "MB"]
    return cells + [f"published {_METRICS[metric]}" for metric in _published(rows)]


def row_cells(row: TableRow, tables: Sequence[ExperimentTable]) -> list[str]:
    """Return the cells of a row under `header`; what is not known is a dash."""
    rows = [other for table in tables for other in table.rows]
    cells = [row.name]
    if row.ours is None:
        cells += ["–"] * 7
    else:
        one = row.ours
        cells += [str(len(one.seeds)), *_metric(one.accuracy), *_metric(one.f1_macro)]
        cells += [f"{one.log_loss:.3f}", f"{one.ece:.3f}"]
    if any(other.pair for other in rows):
        cells += ["–", "–"] if row.pair is None else _difference(row)
    cells.append("–" if row.train_minutes is None else f"{row.train_minutes:.1f}")
    cells.append("–" if row.memory_mb is None else f"{row.memory_mb:.0f}")
    for metric in _published(rows):
        cells.append(f"{row.published[metric]:.2f}" if metric in row.published else "–")
    return cells


def table_title(table: ExperimentTable) -> str:
    """Return the heading of one table."""
    where = table.split if table.subset == WHOLE else f"{table.split}, {table.subset}"
    return f"{table.heading}: {where} ({table.stickers} stickers)"


def notes(table: ExperimentTable) -> list[str]:
    """Return the sentences under a table."""
    found = list(table.notes)
    if table.done < table.cells:
        found.insert(0, f"{table.done} of {table.cells} cells have a result")
    if table.source is not None:
        found.append(f"published: {table.source}")
    return found


def render(tables: Sequence[ExperimentTable], form: str) -> str:
    """Return the tables in a format of `FORMATS`."""
    return {"markdown": _markdown, "latex": _latex, "csv": _csv, "html": _html}[form](tables)


def _markdown(tables: Sequence[ExperimentTable]) -> str:
    lines = [f"# {escape_markdown(tables[0].title)}"]
    columns = header(tables)
    for table in tables:
        lines += ["", f"## {escape_markdown(table_title(table))}", ""]
        lines += [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
        for row in table.rows:
            lines.append(f"| {' | '.join(escape_markdown(cell) for cell in row_cells(row, tables))} |")
        lines += ["", *(f"- {escape_markdown(note)}" for note in notes(table))]
    return "\n".join(lines) + "\n"


def _latex(tables: Sequence[ExperimentTable]) -> str:
    columns = header(tables)
    lines = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(tables[0].title)}. {_tex(table_title(table))}}}",
        ]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule"]
        lines += [" & ".join(map(_tex, columns)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_tex, row_cells(row, tables))) + r" \\" for row in table.rows]
        lines += [
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in notes(table)),
            r"\end{table}",
            "",
        ]
    return "\n".join(lines)


def _csv(tables: Sequence[ExperimentTable]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["corpus", "split", "subset", "stickers", *header(tables)])
    for table in tables:
        for row in table.rows:
            writer.writerow(
                [table.heading, table.split, table.subset, table.stickers, *row_cells(row, tables)]
            )
    return stream.getvalue()


def _html(tables: Sequence[ExperimentTable]) -> str:
    facts = {
        "title": tables[0].title,
        "header": header(tables),
        "tables": [
            {
                "title": table_title(table),
                "rows": [row_cells(row, tables) for row in table.rows],
                "notes": notes(table),
            }
            for table in tables
        ],
    }
    return page_environment(TEMPLATES).get_template("experiment.html.j2").render(facts)


def _published(rows: Sequence[TableRow]) -> list[str]:
    return [metric for metric in _METRICS if any(metric in row.published for row in rows)]


def _metric(metric: SeedMetric) -> list[str]:
    spread = "" if metric.deviation is None else f" ± {100 * metric.deviation:.1f}"
    low, high = metric.interval
    return [f"{100 * metric.mean:.1f}{spread}", f"{100 * low:.1f} to {100 * high:.1f}"]


def _difference(row: TableRow) -> list[str]:
    """Return this row minus the one that all are compared with, in points."""
    pair = row.pair
    assert pair is not None
    (low, high), value = pair.interval, pair.value
    if pair.second == row.name:
        low, high, value = -high, -low, -value
    return [
        f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        p_text(pair.p_holm).removeprefix("= "),
    ]


def _tex(text: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in text)
