"""Commands on corpora: data build, check, list, show."""

from pathlib import Path
from typing import Annotated

import typer

from mghft import data_quality

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
CardArgument = Annotated[str, typer.Argument(help="Data card: a shipped name or a path.")]


@app.callback()
def _group() -> None:
    """Build, check and list corpora.

    \b
    Example:
      mghft data check emoji --data demo/data
    """


@app.command()
def build(
    corpus: Annotated[str, typer.Argument(help="Corpus that can be built; today 'emoji'.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    cache: Annotated[
        Path | None, typer.Option(help="Folder of fetched packages; default: ~/.cache/mghft.")
    ] = None,
) -> None:
    """Build a corpus from packages of public registries.

    \b
    Example:
      mghft data build emoji --out demo/data
    """
    if corpus != "emoji":
        raise ValueError(
            f"the corpus '{corpus}' cannot be built: only 'emoji' can; other corpora are downloaded by you "
            f"(see 'mghft data show {corpus}')"
        )
    from pipeline.emoji.build import build_emoji_corpus

    # npm runs in a folder of its own, where a relative path would mean another place.
    cache = None if cache is None else cache.resolve()
    folder = build_emoji_corpus(out, cache=cache, progress=typer.echo)
    typer.echo(f"corpus: {folder}")


data_quality.attach(app)


@app.command()
def check(
    card: CardArgument,
    data: Annotated[Path, typer.Option(help="Root folder of the corpus.")],
    fast: Annotated[
        bool, typer.Option("--fast", help="Look at header and end of every image; decode only the odd ones.")
    ] = False,
) -> None:
    """Check a corpus against its card: counts, labels, unreadable images, duplicates across splits.

    Every image is decoded, in one process per core. --fast misses damage in the middle of a file.

    \b
    Examples:
      mghft data check emoji --data demo/data
      mghft data check ser30k --data SER_Dataset --fast
    """
    from pipeline.cards import load_card
    from pipeline.check import check_corpus

    with data_quality.bar() as progress:
        found = check_corpus(load_card(card), data, fast=fast, progress=progress)
    for split, labels in found.counts.items():
        parts = ", ".join(f"{name} {count}" for name, count in labels.items())
        typer.echo(f"{split}: {sum(labels.values())} stickers ({parts})")
    for note in found.notes:
        typer.echo(f"note: {note}")
    for problem in found.problems:
        typer.echo(f"problem: {problem}")
    if found.problems:
        raise typer.Exit(1)
    typer.echo(f"{data} agrees with its card")


@app.command("list")
def list_cards() -> None:
    """List the shipped data cards.

    \b
    Example:
      mghft data list
    """
    from pipeline.cards import card_names, load_card

    for name in card_names():
        card = load_card(name)
        typer.echo(f"{name:16} {card.title}, {len(card.labels)} labels")


@app.command()
def show(card: CardArgument) -> None:
    """Show a data card: labels, splits, licence, where to get the corpus.

    \b
    Example:
      mghft data show emoji
    """
    from pipeline.cards import load_card

    typer.echo(load_card(card).source.read_text(encoding="utf-8"), nl=False)
