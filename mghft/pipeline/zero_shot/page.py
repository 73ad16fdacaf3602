"""The report of a zero-shot run in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mghft.pipeline.text import escape_markdown
from mghft.pipeline.zero_shot.figures import Figures

HEADER = (
    "system",
    "accuracy",
    "balanced",
    "F1 macro",
    "F1 weighted",
    "non-answers",
    "changes",
    "tokens",
    "with text",
)


def cells(line: Figures) -> tuple[str, ...]:
    """Return a line of the table, by `HEADER`."""
    shares = (line["accuracy"], line["balanced_accuracy"], line["f1_macro"], line["f1_weighted"])
    changes = line["changes_under_rotation"]
    return (
        line["system"],
        *(f"{share:.3f}" for share in shares),
        str(line["non_answers"]),
        "" if changes is None else f"{changes:.3f}",
        f"{line['tokens_per_sticker']:.0f}",
        str(line["with_text"]),
    )


def report_text(
    facts: Mapping[str, Any], splits: Mapping[str, Sequence[Figures]], notes: Sequence[str]
) -> str:
    """Return the report: what was asked of whom, a table for each split, what was answered, notes."""
    lines = ["# Zero-shot classification", ""]
    lines += [
        f"- {name.replace('_', ' ')}: {escape_markdown(value)}" for name, value in facts.items() if value
    ]
    for split, systems in splits.items():
        lines += ["", f"## {escape_markdown(split)}, {systems[0]['stickers']} stickers", ""]
        lines += _table(HEADER, [cells(line) for line in systems])
        lines += ["", "How often each label was answered:", ""]
        labels = list(systems[0]["predicted"])
        counts = [(one["system"], *map(str, one["predicted"].values())) for one in systems]
        lines += _table(("system", *labels), counts)
    lines += [
        "",
        "Balanced accuracy and macro F1 are means over the classes that occur. A sticker without an answer "
        "counts as wrong. Changes: share of the stickers whose likeliest option is another one in another "
        "order of the options. Intervals and tests: `mghft compare` on `predictions.parquet`.",
        *(f"\nNote: {escape_markdown(note)}." for note in notes),
        "",
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [
        header,
        ["---", *["---:"] * (len(header) - 1)],
        *([escape_markdown(c) for c in row] for row in rows),
    ]
    return [f"| {' | '.join(line)} |" for line in lines]
