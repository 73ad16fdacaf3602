"""A comparison as text: tables for a terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from mghft.pipeline.text import escape_markdown, plural
from mghft.train.comparison.results import Comparison, Section, SeedMetric, SystemSummary
from mghft.train.evaluation.results import WHOLE

HEADER = ("system", "seeds", "accuracy", "95 %", "F1 macro", "95 %", "mAP", "log loss", "ECE", "calibrated")
NUMERIC = tuple(range(1, len(HEADER)))


def section_title(comparison: Comparison, section: Section) -> str:
    """Return the heading of a section: the split, the subset, how many stickers."""
    where = comparison.split if section.subset == WHOLE else f"{comparison.split}, {section.subset}"
    return f"{where} ({plural(section.stickers, 'sticker')})"


def system_row(system: SystemSummary) -> list[str]:
    """Return the cells of a system under `HEADER`."""
    return [
        system.name,
        str(len(system.seeds)),
        *_metric(system.accuracy),
        *_metric(system.f1_macro),
        f"{system.mean_average_precision:.3f}",
        f"{system.log_loss:.3f}",
        f"{system.ece:.3f}",
        "–" if system.ece_calibrated is None else f"{system.ece_calibrated:.3f}",
    ]


def verdicts(section: Section) -> Iterator[str]:
    """Yield a sentence for every pair, with McNemar's counts where the systems have one seed."""
    for pair in section.pairs:
        alone = ""
        if len(pair.first_alone) == 1:
            first, second = pair.first_alone[0], pair.second_alone[0]
            alone = f" [{pair.first} alone is right {first} times, {pair.second} alone {second}]"
        yield pair.words + alone


def markdown(comparison: Comparison) -> str:
    """Return compare.md: a table and the verdicts for every section."""
    lines = ["# Comparison", "", f"Pairs by {comparison.metric}; percent, mean ± sd over seeds.", ""]
    lines += [f"- {escape_markdown(note)}" for note in comparison.notes]
    for section in comparison.sections:
        lines += ["", f"## {escape_markdown(section_title(comparison, section))}", ""]
        lines += [f"| {' | '.join(HEADER)} |", "|---|" + "---:|" * len(NUMERIC)]
        for system in section.systems:
            lines.append(f"| {' | '.join(escape_markdown(cell) for cell in system_row(system))} |")
        lines += ["", *(f"- {escape_markdown(words)}" for words in verdicts(section))]
    return "\n".join([*lines, ""])


def _metric(metric: SeedMetric) -> tuple[str, str]:
    spread = "" if metric.deviation is None else f" ± {100 * metric.deviation:.1f}"
    low, high = metric.interval
    return f"{100 * metric.mean:.1f}{spread}", f"{100 * low:.1f} to {100 * high:.1f}"
