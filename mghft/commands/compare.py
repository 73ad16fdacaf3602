"""`mghft compare`: systems beside each other by their saved predictions alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mghft.output import print_table

_PAGE = "Page of the stickers that they differ on"


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PREDICTIONS…",
            help="predictions.parquet files, folders that hold one, or NAME=PATH.",
            show_default=False,
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Split to compare on; default test.")] = None,
    system: Annotated[
        list[str] | None, typer.Option("--system", help="Systems to compare; repeat. Default: all.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare every other system with this one alone.")
    ] = None,
    metric: Annotated[
        Literal["accuracy", "f1_macro"] | None,
        typer.Option(help="What pairs are compared by: accuracy (default) or f1_macro."),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="On the stickers that all have, where some have more.")
    ] = False,
    no_subsets: Annotated[bool, typer.Option("--no-subsets", help="The whole split alone.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for compare.json, compare.md and index.html.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(
            help="With --out: the corpus, to show the stickers.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="With --card: root folder of the corpus.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    descriptions: Annotated[
        Path | None,
        typer.Option(
            help="With --card: run of `mghft describe`, to show the views.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    stickers: Annotated[
        int | None, typer.Option(min=0, help="Stickers shown that one gets right and the other wrong; 24.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of bootstrap and permutations; default 0.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare systems on the same stickers: intervals over stickers and seeds, tests, verdicts in words.

    A predictions file is Parquet with the columns id, split, label, probabilities (a struct with a number per
    label), system and seed; subset and group are used where they are there. `mghft eval` writes one, and so
    can any other program. Trainings of one system with different seeds are averaged.

    \b
    Examples:
      mghft compare report/predictions.parquet
      mghft compare report-1 report-2 report-3 theirs=clip.parquet --against MGHFT --out comparison
      mghft compare report --system MGHFT --system "text only" --metric f1_macro --json
    """
    from dataclasses import asdict

    from mghft.pipeline.settings import build, given
    from mghft.train.comparison.compare import CompareConfig
    from mghft.train.comparison.compare import compare as run

    fields: dict[str, Any] = {
        "sources": tuple(sources),
        "split": split,
        "systems": tuple(system) if system else None,
        "against": against,
        "metric": metric,
        "common": common or None,
        "subsets": False if no_subsets else None,
        "seed": seed,
    }
    config = build(CompareConfig, given(fields), what="the comparison")
    if card is not None and (out is None or data is None):
        raise ValueError("--card shows stickers on the page: it needs --out and --data")
    if card is None and (data is not None or descriptions is not None):
        raise ValueError("--data and --descriptions go with --card: name the corpus")
    comparison = run(config)
    if out is not None:
        from mghft.train.comparison.page import Shown, write_comparison

        shown = None if card is None or data is None else Shown(card, data, descriptions)
        write_comparison(out, comparison, shown, count=24 if stickers is None else stickers)
    if as_json:
        typer.echo(json.dumps(asdict(comparison), indent=2, ensure_ascii=False))
        return
    from mghft.train.comparison.text import HEADER, NUMERIC, section_title, system_row, verdicts

    for section in comparison.sections:
        typer.echo(section_title(comparison, section))
        print_table(HEADER, [system_row(one) for one in section.systems], numeric=NUMERIC)
        for words in verdicts(section):
            typer.echo(words)
        typer.echo("")
    for note in comparison.notes:
        typer.echo(f"note: {note}")
    if out is not None:
        typer.echo(f"page: {out / 'index.html'}")
