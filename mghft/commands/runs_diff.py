"""`mghft runs`: run folders side by side."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mghft.output import print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Put run folders side by side.

    \b
    Example:
      mghft runs diff demo/runs/text demo/runs/no-text
    """


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Run folder of a training or of descriptions.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another of the same kind.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say in what two runs differ: settings, model, versions, machine, command line, and what came out.

    What decides a run's numbers comes first, where it lies and what came out last.

    \b
    Examples:
      mghft runs diff demo/runs/text demo/runs/no-text
      mghft runs diff demo/descriptions other/descriptions --json
    """
    from mghft.train.runs.difference import run_differences

    found = run_differences(first, second)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
        return
    for section in dict.fromkeys(one.section for one in found):
        rows = [(one.field, _cell(one.first), _cell(one.second)) for one in found if one.section == section]
        print_table([section, str(first), str(second)], rows, shorten_last=True)
        typer.echo()
    typer.echo(f"{len(found)} fields differ" if found else "the runs do not differ in anything recorded")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
