"""What commands print: facts, tables, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

_WIDEST_ID = 48
_NARROWEST_REASON = 24


def show(facts: Mapping[str, Any], indent: str = "") -> None:
    """Prints facts, one a line; what is empty has no line."""
    for name, value in facts.items():
        label = f"{indent}{str(name).replace('_', ' ')}"
        if isinstance(value, dict):
            if value:
                typer.echo(f"{label}:")
            show(value, indent + "  ")
        elif isinstance(value, list):
            for entry in value:
                typer.echo(f"{label}: {entry}")
        else:
            typer.echo(f"{label}: {f'{value:.4g}' if isinstance(value, float) else value}")


def listable(ids: Sequence[str]) -> Sequence[str]:
    """The ids themselves, if a file with one a line can hold every one of them.

    Raises:
        ValueError: an id is blank or holds a line break, and would come back as another.
    """
    for name in ids:
        if not name.strip() or "\n" in name or "\r" in name or name.startswith("\ufeff"):
            raise ValueError(
                f"the id {name!r} cannot stand in a file with one id a line: "
                "`mghft describe … --retry-failed` without --ids asks again for every failed sticker"
            )
    return ids


def table(rows: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Two aligned columns, id and reason; the reason is shortened where `width` columns are too few.

    An id stays whole, since people copy it; one that is very long pushes its own reason aside.
    """
    from rich.cells import cell_len, set_cell_size

    shown = [(printable(name), printable(reason)) for name, reason in rows]
    column = min(_WIDEST_ID, max((cell_len(name) for name, _ in shown), default=0))
    lines = []
    for name, reason in shown:
        start = name + " " * (column - cell_len(name)) + "  "
        room = None if width is None else max(_NARROWEST_REASON, width - cell_len(start))
        if room is not None and cell_len(reason) > room:
            reason = set_cell_size(reason, room - 1).rstrip() + "…"
        lines.append(start + reason)
    return lines


def reason_counts(reasons: Sequence[str]) -> list[tuple[str, int]]:
    """How often each reason occurs, most frequent first; reasons that differ in numbers alone are one."""
    import re
    from collections import defaultdict

    groups: dict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        groups[re.sub(r"\d+", "N", reason)].append(reason)
    found = [
        (printable(name if len(set(members)) > 1 else members[0]), len(members))
        for name, members in groups.items()
    ]
    return sorted(found, key=lambda group: (-group[1], group[0]))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns; control characters become escapes."""
    from rich.cells import cell_len

    from mghft.output import printable

    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in shown
    ]


def printable(text: str) -> str:
    """Control characters as escapes, so that no id or reason moves the cursor or breaks a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
