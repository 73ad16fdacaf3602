"""`mghft runs`: run folders side by side, and corrections of descriptions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mghft.output import print_facts, print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Put run folders side by side, and look at corrections of descriptions.

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


@app.command()
def corrections(
    file: Annotated[Path, typer.Argument(help="Table of corrections: sticker, view, text, by, why.")],
    descriptions: Annotated[Path, typer.Option(help="Run of 'mghft describe' that it is laid over.")],
    examples: Annotated[int, typer.Option(min=0, help="Changed texts to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a table of corrections would change in a run; nothing is changed by it.

    The same table goes to train, eval, predict, export and prompts score with --corrections.

    \b
    Example:
      mghft runs corrections corrections.csv --descriptions demo/descriptions
    """
    from collections import Counter

    from mghft.pipeline.runs.corrections import by_author, read_corrections
    from mghft.pipeline.runs.shards import read_descriptions

    found = read_corrections(file).for_run(descriptions)
    changes = list(found.changes(read_descriptions(descriptions).to_pylist()))
    facts = {
        **found.record(),
        "stickers": len({one.sticker for one in found.rows}),
        "views": dict(Counter(one.view for one in found.rows)),
        "taken_away": sum(one.text is None for one in found.rows),
        "as_before": sum(one.text == before for one, before in changes),
        "by": by_author(found),
    }
    if as_json:
        shown = [{**one._asdict(), "before": before} for one, before in changes[:examples]]
        typer.echo(json.dumps({**facts, "examples": shown}, ensure_ascii=False, indent=2))
        return
    print_facts(facts)
    rows = [(one.sticker, one.view, before or "–", one.text or "–") for one, before in changes[:examples]]
    if rows:
        print_table(["sticker", "view", "before", "after"], rows)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
