"""The command prompts score."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mghft.options import CorrectionsOption


def score(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders of 'mghft describe', or folders of 'prompts try'.")
    ],
    encoder: Annotated[
        str, typer.Option(help="Text encoder of BERT's kind: hub id, folder or 'minilm'.")
    ] = "minilm",
    split: Annotated[
        list[str] | None, typer.Option(help="Split to score on; may be repeated. Default: all but test.")
    ] = None,
    together: Annotated[
        str,
        typer.Option(
            help="What a fold keeps together beside the same picture: name (file name), folder, picture (no "
            "more), or auto."
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and intervals.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the Markdown file.")] = False,
    cache_dir: Annotated[Path | None, typer.Option(help="Folder of text features.")] = None,
    corrections: CorrectionsOption = None,
) -> None:
    """Score prompts by what their texts tell about the label, without training MGHFT.

    The views are embedded by the text encoder; a linear probe and the nearest neighbours guess the label,
    cross-validated, per view and for all four. Beside it stands what can be counted: usable answers, length,
    distinctness, label words given away, refusals, wrong language. Several runs are compared on the stickers
    that all of them have; where these are too few to tell two prompts apart, it says so. Every run gets a
    score.json.

    \b
    Examples:
      mghft prompts score demo/descriptions
      mghft prompts score trials --out scores.md
      mghft prompts score runs/english runs/chinese --encoder xlm-roberta-base
    """
    from mghft.output import table_lines
    from mghft.pipeline.files import check_target, write_text
    from mghft.pipeline.text import plural
    from mghft.train.probing.score import FILE, ScoreConfig, score_prompts
    from mghft.train.probing.tables import markdown, sentences, tables

    if out is not None:
        check_target(out, force)
    config = ScoreConfig(
        encoder=encoder,
        splits=tuple(split) if split else None,
        together=together,
        seed=seed,
        cache_dir=cache_dir,
        corrections=corrections,
    )
    scores = score_prompts(runs, config)
    for table in tables(scores):
        typer.echo(f"{table.title}\n")
        for line in table_lines(table.header, list(_without_repeats(table.rows))):
            typer.echo(f"  {line}")
        typer.echo()
    for sentence in sentences(scores):
        typer.echo(f"- {sentence}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, markdown(scores))
        typer.echo(f"table: {out}", err=True)
    typer.echo(f"{FILE} written into {plural(scores.runs, 'run folder')}", err=True)


def _without_repeats(rows: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Return the rows with the name of a run before its first one alone."""
    before = None
    for row in rows:
        yield ["", *row[1:]] if row[0] == before else row
        before = row[0]
