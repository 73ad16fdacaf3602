"""Output of commands: tables, facts, lists; what stickers and models say in it cannot break a line."""

from __future__ import annotations

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import typer

# Of a last column that is shortened: a narrower one would say nothing.
_NARROWEST = 24


def print_table(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[object]],
    *,
    numeric: Collection[int] = (),
    shorten_last: bool = False,
    err: bool = False,
) -> None:
    """Print rows as aligned columns; in a pipe or a file no cell is ever wrapped or cut.

    Args:
        header: names of the columns; None prints none.
        rows: cells, as many in each row; control characters in them become escapes.
        numeric: numbers of the columns, from 0, that are flush right.
        shorten_last: in a terminal, shorten the last column to its width.
        err: print to standard error.
    """
    width = (
        shutil.get_terminal_size().columns
        if shorten_last and (sys.stderr if err else sys.stdout).isatty()
        else None
    )
    for line in table_lines(header, rows, numeric=numeric, width=width):
        typer.echo(line, err=err)


def table_lines(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[object]],
    *,
    numeric: Collection[int] = (),
    width: int | None = None,
) -> list[str]:
    """Return the lines of `print_table`; the last column is shortened to `width`, None leaves it whole."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = rows if header is None else [header, *rows]
    cells = [[escape_control(str(cell)) for cell in row] for row in lines]
    if not cells:
        return []
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        room = width - sum(widths[:-1]) - 2 * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(room, _NARROWEST))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column_width in enumerate(widths):
        table.add_column(
            justify="right" if number in numeric else "left",
            width=column_width,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(width=sum(widths) + 2 * len(widths), color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def print_facts(facts: Mapping[str, Any], indent: str = "") -> None:
    """Print facts, one a line; what is empty has no line."""
    for name, value in facts.items():
        # A reason of failure is a sentence, in which a field's name stays as it is.
        words = str(name).replace("_", " ") if str(name).isidentifier() else str(name)
        label = f"{indent}{words}"
        if isinstance(value, Mapping):
            if value:
                typer.echo(f"{label}:")
            print_facts(value, indent + "  ")
        elif isinstance(value, list):
            for entry in value:
                typer.echo(f"{label}: {entry}")
        else:
            typer.echo(f"{label}: {f'{value:.4g}' if isinstance(value, float) else value}")


def check_one_per_line(names: Sequence[str]) -> None:
    """Check that a file with one name a line can hold every one of them.

    Raises:
        ValueError: a name is blank or holds a line break, and would come back as another.
    """
    for name in names:
        if not name.strip() or "\n" in name or "\r" in name or name.startswith("\ufeff"):
            raise ValueError(
                f"the id {name!r} cannot stand in a file with one id a line: "
                "`mghft describe … --retry-failed` without --ids asks again for every failed sticker"
            )


def count_reasons(reasons: Sequence[str]) -> list[tuple[str, int]]:
    """Count reasons, the most frequent first; those that differ in numbers alone are one."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for reason in reasons:
        groups[re.sub(r"\d+", "N", reason)].append(reason)
    counts = [
        (pattern if len(set(members)) > 1 else members[0], len(members))
        for pattern, members in groups.items()
    ]
    return sorted(counts, key=lambda group: (-group[1], group[0]))


def escape_control(text: str) -> str:
    """Return a text with escapes for control characters, so that none moves the cursor or breaks a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
