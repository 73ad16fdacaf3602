"""`mghft experiment`: a table as a file, run cell by cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mghft.output import print_table

if TYPE_CHECKING:
    from mghft.train.experiments.experiment import Experiment

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="YAML file of an experiment, or a shipped one: emoji, …")
]
DataOption = Annotated[Path | None, typer.Option(help="Root folder of the corpus, over the file's.")]
DescriptionsOption = Annotated[
    Path | None,
    typer.Option(help="Run of `mghft describe`, over the file's; without one it is described first."),
]
OutOption = Annotated[Path | None, typer.Option(help="Folder of all cells; default runs/NAME OF THE FILE.")]
SeedsOption = Annotated[
    list[int] | None, typer.Option("--seed", help="Seeds, over the file's; repeat the option.")
]
CardsOption = Annotated[
    list[str] | None, typer.Option("--card", help="Corpora, over the file's; repeat the option.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A field of every training, over the file's: recipe=cpu."
    ),
]


@app.callback()
def _group() -> None:
    """Run tables that are declared in a file, see how far they are, and print them.

    \b
    Example:
      mghft experiment run emoji --data demo/data --out runs/emoji
    """


@app.command()
def run(
    file: FileArgument,
    data: DataOption = None,
    descriptions: DescriptionsOption = None,
    out: OutOption = None,
    seeds: SeedsOption = None,
    cards: CardsOption = None,
    settings: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say cells, time and disk by a few steps of each system.")
    ] = False,
) -> None:
    """Run every cell of an experiment that has no result yet.

    The same command goes on after anything that stopped it. Start it several times, on one machine or on
    several with a common folder, and they share the cells. A cell that fails is tried again by the next run.

    \b
    Examples:
      mghft experiment run emoji --data demo/data --descriptions demo/descriptions --out runs/emoji
      mghft experiment run ser30k --data SER_Dataset --descriptions runs/ser30k --dry-run
      mghft experiment run ablation --card emoji --data demo/data --descriptions demo/descriptions \\
        --set recipe=cpu --out runs/ablation
    """
    experiment, folder = _open(file, out, data, descriptions, seeds, cards, settings)
    if dry_run:
        from mghft.train.experiments.estimate import estimate_lines

        for line in estimate_lines(experiment, folder):
            typer.echo(line)
        return
    from mghft.train.experiments.experiment import write_options
    from mghft.train.experiments.runner import CellFailedError, run_experiment

    write_options(folder, experiment)
    failed = run_experiment(experiment, folder, typer.echo)
    if failed:
        raise CellFailedError(
            f"{len(failed)} cells failed, the others are done: see `mghft experiment status {file}`"
        )
    typer.echo(f"done: `mghft experiment table {file}` prints the table")


@app.command()
def status(
    file: FileArgument,
    data: DataOption = None,
    descriptions: DescriptionsOption = None,
    out: OutOption = None,
    seeds: SeedsOption = None,
    cards: CardsOption = None,
    settings: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say which cells are done, running, failed (with the reason) or waiting.

    \b
    Examples:
      mghft experiment status emoji --out runs/emoji
    """
    experiment, folder = _open(file, out, data, descriptions, seeds, cards, settings)
    from mghft.train.experiments.cells import FAILURE, plan_cells

    rows = []
    for cell in plan_cells(experiment, folder):
        state, reason = cell.state(), ""
        if state == "failed":
            reason = json.loads((cell.folder / FAILURE).read_text(encoding="utf-8"))["error"]
        rows.append({"cell": cell.title, "state": state, "reason": reason, "folder": str(cell.folder)})
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    print_table(("cell", "state", "reason"), [(row["cell"], row["state"], row["reason"]) for row in rows])
    done = sum(row["state"] == "done" for row in rows)
    typer.echo(f"{done} of {len(rows)} cells are done")


@app.command()
def table(
    file: FileArgument,
    data: DataOption = None,
    descriptions: DescriptionsOption = None,
    out: OutOption = None,
    seeds: SeedsOption = None,
    cards: CardsOption = None,
    settings: SetOption = None,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex (booktabs), csv or html.")
    ] = "markdown",
    to: Annotated[Path | None, typer.Option(help="File to write; default: the terminal.")] = None,
) -> None:
    """Print the table of an experiment, as far as it is done.

    \b
    Examples:
      mghft experiment table emoji --out runs/emoji
      mghft experiment table emoji --out runs/emoji --format latex --to table.tex
    """
    from mghft.train.experiments.formats import FORMATS, render
    from mghft.train.experiments.table import experiment_table

    if form not in FORMATS:
        raise ValueError(f"--format {form}: there are {', '.join(FORMATS)}")
    experiment, folder = _open(file, out, data, descriptions, seeds, cards, settings)
    text = render(experiment_table(experiment, folder), form)
    if to is None:
        typer.echo(text, nl=False)
        return
    from mghft.pipeline.files import write_text

    write_text(to, text)
    typer.echo(f"table: {to}")


def _open(
    file: str,
    out: Path | None,
    data: Path | None,
    descriptions: Path | None,
    seeds: list[int] | None,
    cards: list[str] | None,
    settings: list[str] | None,
) -> tuple[Experiment, Path]:
    """Return the experiment as the file and the options over it declare it, and the folder of its cells.

    Options that are not given are those of the last run into this folder.
    """
    from mghft.pipeline.settings import given, parse_assignments
    from mghft.train.experiments.experiment import load_experiment, read_options

    fields: dict[str, Any] = {
        "data": data,
        "descriptions": descriptions,
        "seeds": tuple(seeds) if seeds else None,
        "cards": tuple(cards) if cards else None,
        "train": parse_assignments(settings) if settings else None,
    }
    folder = out or Path("runs") / Path(file).stem
    return load_experiment(file, {**read_options(folder), **given(fields)}), folder
