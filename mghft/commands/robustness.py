"""`mghft robustness`: what trained runs lose under missing views, foreign texts and disturbed pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mghft.output import print_table


def robustness(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…",
            help="Run folders of `mghft train`; those that differ in the seed alone are averaged.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the tables, the figure and the predictions.")],
    split: Annotated[str | None, typer.Option(help="Split to judge on; default test.")] = None,
    data: Annotated[Path | None, typer.Option(help="Root of the corpus, if it is elsewhere now.")] = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="Run of descriptions, if it is elsewhere now.")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Cache, if another than the run's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Stickers at a time; default 64.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="Threads of torch on CPU.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the exchanged descriptions; default 0.")] = None,
) -> None:
    """Judge trained runs with views missing, descriptions of other stickers, label words taken out, and
    pictures blurred, saved as JPEG, turned, recoloured or shown on black.

    \b
    Examples:
      mghft robustness demo/runs/text --out robustness
      mghft robustness runs/text-1 runs/text-2 runs/text-3 runs/no-text-1 --out robustness --split validation
    """
    from mghft.pipeline.settings import build, given
    from mghft.train.robustness.measure import RobustnessConfig, measure_robustness, open_seeds

    fields = {
        "runs": tuple(runs),
        "out": out,
        "split": split,
        "data": data,
        "descriptions": descriptions,
        "cache_dir": cache_dir,
        "batch_size": batch_size,
        "num_threads": num_threads,
        "seed": seed,
    }
    config = build(RobustnessConfig, given(fields), what="the measurement")
    # A slip in a folder is answered before anything is predicted.
    open_seeds(config)
    from mghft.train.robustness.tables import HEADER, NUMERIC, result_row, write_robustness

    found, predictions = measure_robustness(config)
    write_robustness(out, found, predictions)
    print_table(HEADER, [result_row(result) for result in found.results], numeric=NUMERIC)
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"tables and figure: {out}")
