"""`mghft experiment`: a table as a file, run cell by cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mghft.options import Option, option, with_options
from mghft.output import print_table

if TYPE_CHECKING:
    from mghft.train.experiments.experiment import Experiment

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
FILE = Option(
    "file",
    Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="YAML file of an experiment, or a shipped one: emoji, …"),
    ],
    "file",
)
# What every command takes: the file, the folder of the cells, and fields over those of the file.
EXPERIMENT = (
    FILE,
    option("data", Path, "data", "Root folder of the corpus."),
    option(
        "descriptions", Path, "descriptions", "Run of `mghft describe`; without one it is described first."
    ),
    option("out", Path, "out", "Folder of all cells; default runs/NAME OF THE FILE."),
    option("seeds", list[int], "seeds", "Seeds; repeat the option.", "--seed", parse=tuple),
    option("cards", list[str], "cards", "Corpora; repeat the option.", "--card", parse=tuple),
    option("settings", list[str], "train", "A field of every training.", "--set", metavar="KEY=VALUE"),
)


@app.callback()
def _group() -> None:
    """Run tables that are declared in a file, see how far they are, and print them.

    \b
    Example:
      mghft experiment run emoji --data demo/data --out runs/emoji
    """


@app.command()
@with_options(
    EXPERIMENT,
    (option("dry_run", bool, None, "Say cells, time and disk by a few steps of each system."),),
)
def run(fields: Mapping[str, Any], dry_run: bool | None) -> None:
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
    experiment, folder = _open(fields)
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
            f"{len(failed)} cells failed, the others are done: see `mghft experiment status {fields['file']}`"
        )
    typer.echo(f"done: `mghft experiment table {fields['file']}` prints the table")


@app.command()
@with_options(EXPERIMENT, (option("as_json", bool, None, "Print as JSON.", "--json"),))
def status(fields: Mapping[str, Any], as_json: bool | None) -> None:
    """Say which cells are done, running, failed (with the reason) or waiting.

    \b
    Examples:
      mghft experiment status emoji --out runs/emoji
    """
    experiment, folder = _open(fields)
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
@with_options(
    EXPERIMENT,
    (
        option(
            "form",
            Literal["markdown", "latex", "csv", "html"],
            None,
            "markdown (default), latex (booktabs), csv or html.",
            "--format",
        ),
        option("to", Path, None, "File to write; default: the terminal."),
    ),
)
def table(fields: Mapping[str, Any], form: str | None, to: Path | None) -> None:
    """Print the table of an experiment, as far as it is done.

    \b
    Examples:
      mghft experiment table emoji --out runs/emoji
      mghft experiment table emoji --out runs/emoji --format latex --to table.tex
    """
    from mghft.train.experiments.formats import FORMATS, render
    from mghft.train.experiments.table import experiment_table

    form = form or FORMATS[0]
    if form not in FORMATS:
        raise ValueError(f"--format {form}: there are {', '.join(FORMATS)}")
    experiment, folder = _open(fields)
    text = render(experiment_table(experiment, folder), form)
    if to is None:
        typer.echo(text, nl=False)
        return
    from mghft.pipeline.files import write_text

    write_text(to, text)
    typer.echo(f"table: {to}")


def _open(given: Mapping[str, Any]) -> tuple[Experiment, Path]:
    """Return the experiment as the file and the options over it declare it, and the folder of its cells.

    Options that are not given are those of the last run into this folder.

    Raises:
        ValueError: no file is named; or as of `load_experiment`.
    """
    from mghft.pipeline.settings import parse_assignments
    from mghft.train.experiments.experiment import load_experiment, read_options

    fields = dict(given)
    if (file := fields.pop("file", None)) is None:
        raise ValueError("name an experiment: a YAML file, or a shipped one such as emoji")
    folder = fields.pop("out", None) or Path("runs") / Path(file).stem
    if "train" in fields:
        fields["train"] = parse_assignments(fields["train"])
    return load_experiment(file, {**read_options(folder), **fields}), folder
