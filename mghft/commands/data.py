"""Commands on corpora: data build, check, split, import, list, show."""

from pathlib import Path
from typing import Annotated

import typer

from mghft.commands import data_audit
from mghft.options import RequiredCard, RequiredData
from mghft.output import print_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Build, check, split, import and list corpora.

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
    from mghft.pipeline.corpora.emoji.build import build_emoji_corpus

    # npm runs in a folder of its own, where a relative path would mean another place.
    cache = None if cache is None else cache.resolve()
    folder = build_emoji_corpus(out, cache=cache, progress=typer.echo)
    typer.echo(f"corpus: {folder}")


data_audit.attach(app)


@app.command()
def check(
    card: RequiredCard,
    data: RequiredData,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a corpus with a sticker that cannot be used.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Look at header and end of every image; decode only the odd ones.")
    ] = False,
    left_out: Annotated[
        Path | None,
        typer.Option(help="CSV to write: every sticker that is left out or cannot be read, and why."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --left-out.")] = False,
) -> None:
    """Check a corpus against its card: counts, labels, unreadable images, duplicates across splits.

    Also tells what is odd about this copy, which stickers are left out and why (the first of them; --left-out
    writes all), and how far annotators agree.
    Every image is decoded, in one process per core. --fast misses damage in the middle of a file.

    \b
    Examples:
      mghft data check emoji --data demo/data
      mghft data check met-meme:zh:intention --data MET-Meme --left-out missing.csv
      mghft data check ser30k --data SER_Dataset --strict
      mghft data check ser30k --data SER_Dataset --fast
      mghft data check pack --data cats.wastickers
    """
    import logging

    # What loading logs is part of what is printed here.
    logging.getLogger("mghft.pipeline.corpora.load").setLevel(logging.ERROR)
    from mghft.pipeline.audit.agreement import measure_agreement
    from mghft.pipeline.audit.check import check_loaded
    from mghft.pipeline.corpora.adapters.listing import summarize_skipped, write_left_out
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.files import check_target
    from mghft.pipeline.progress import bar
    from mghft.pipeline.text import NAMED, plural

    if left_out is not None:
        check_target(left_out, force, option="--left-out")
    corpus = load_corpus(load_card(card), data, strict=strict and left_out is None)
    with bar() as progress:
        found = check_loaded(corpus, fast=fast, progress=progress)
    for split, labels in found.counts.items():
        counts = ", ".join(f"{name} {count}" for name, count in labels.items())
        typer.echo(f"{split}: {plural(sum(labels.values()), 'sticker')} ({counts})")
    voted = measure_agreement(corpus.stickers, corpus.card.labels)
    for note in [*corpus.notes, *(voted.lines() if voted else []), *found.notes]:
        typer.echo(f"note: {note}")
    for clause in summarize_skipped(corpus.skipped):
        typer.echo(f"left out: {clause}")
    if left_out is None and len(corpus.skipped) > NAMED:
        typer.echo("--left-out FILE writes the names of all that are left out")
    for problem in [*corpus.problems, *found.problems]:
        typer.echo(f"problem: {problem}")
    if left_out is not None:
        rows = [*corpus.skipped, *found.unreadable]
        write_left_out(left_out, rows)
        typer.echo(f"written: {left_out} ({plural(rows, 'sticker')})")
        if strict and corpus.skipped:
            raise ValueError(f"{plural(corpus.skipped, 'sticker')} of the corpus {card} cannot be used")
    if corpus.problems or found.problems:
        raise typer.Exit(1)
    typer.echo(f"{data} agrees with its card" + (", but for what is left out" if corpus.skipped else ""))


@app.command()
def split(
    card: RequiredCard,
    data: RequiredData,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: the one in DATA that the card's corpus is read with."),
    ] = None,
    ratio: Annotated[str, typer.Option(help="Shares of train:validation:test.")] = "6:2:2",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffle.")] = 0,
    keep: Annotated[
        list[str] | None, typer.Option(help="Split that stays as it is; the rest is divided. Repeatable.")
    ] = None,
    ignore_duplicates: Annotated[
        bool,
        typer.Option("--ignore-duplicates", help="Do not look for equal pictures: they may be torn apart."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Make a seeded split, the same share of every label (and language), as a file that can be shared.

    Equal pictures (same pixels, whatever their files are called) stay in one split; every image is decoded
    for this. Where there are none, the split is that of --ignore-duplicates.

    The default file is read whenever the corpus is. Another file, also somebody else's, is chosen with
    CARD@FILE: a CSV of id and split, a folder or a pattern of files named train, val and test, a JSON.

    \b
    Examples:
      mghft data split met-meme --data MET-Meme
      mghft data split fi --data FI --keep test --ratio 9:1:0
      mghft data split ser30k --data SER_Dataset --ratio 7:1:2 --seed 1 --out own.csv
      mghft data check ser30k@own.csv --data SER_Dataset
      mghft train 'met-meme:en@M3F/avg_*_label_E.csv' --data MET-Meme --no-text --out runs/en
    """
    from mghft.pipeline.audit.equal import equal_pictures
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.corpora.splits import Ratio, make_split, write_split
    from mghft.pipeline.corpora.sticker import normal_split
    from mghft.pipeline.files import check_target
    from mghft.pipeline.progress import bar
    from mghft.pipeline.text import first_and_more, plural

    shares = Ratio.parse(ratio)
    chosen = load_card(card)
    # From the corpus' own splits, not from those of an earlier call; unless they were asked for.
    corpus = load_corpus(chosen.model_copy(update={"split_file": None}), data)
    if out is None and chosen.split_file is None:
        origin = "has no file of splits" if chosen.adapter == "pack" else "comes with its authors' splits"
        raise ValueError(
            f"the corpus {chosen.name} {origin}: name a file with --out, "
            f"and read the corpus with it as '{card}@FILE'"
        )
    kept = [normal_split(name) for name in keep or []]
    for name in kept:
        corpus.split(name)
    path = out or data / str(chosen.split_file)
    check_target(path, force)
    groups: list[list[str]] = []
    if not ignore_duplicates:
        with bar(doing="comparing pictures") as progress:
            groups = equal_pictures(corpus, progress=progress)
    divided = make_split(corpus.stickers, shares, seed, keep=kept, together=groups)
    how = f"ratio {shares} of train:validation:test, seed {seed}, by subset and label"
    how += f", {' and '.join(kept)} kept" if kept else ""
    how += f", {plural(groups, 'group')} of equal pictures kept together" if groups else ""
    for line in write_split(path, corpus, divided, how=how, force=force):
        typer.echo(line.removeprefix("# "))
    typer.echo(f"written: {path}")
    torn = [group for group in groups if len({divided[name] for name in group}) > 1]
    if torn:
        named = first_and_more(group[0] for group in torn)
        typer.echo(
            f"note: {plural(torn, 'group')} of equal pictures also in a split that is kept: {named}; "
            "'mghft data duplicates' with --drop-leaks leaves them out",
            err=True,
        )
    if out is not None:
        typer.echo(f"read the corpus with it as {card}@{path}")
    elif chosen.met_meme is not None and len(chosen.met_meme.languages) == 1:
        typer.echo(
            f"note: the file is read by every variant of {chosen.source.stem} and names {chosen.name} alone: "
            f"the others lose their stickers until 'mghft data split {chosen.source.stem} --force'",
            err=True,
        )


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(help="Folder of save_to_disk, Parquet file or folder, or hf:ID[:CONFIG]."),
    ],
    out: Annotated[Path, typer.Option(help="New folder for images, table and card.")],
    image: Annotated[str | None, typer.Option(help="Column of images; default: the first.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of labels; default: by type or name.")] = None,
    text: Annotated[str | None, typer.Option(help="Column of texts; default: by name, if any.")] = None,
) -> None:
    """Turn a Hugging Face data set with images and labels into a corpus: files, a table and a card.

    Only hf: asks the network. No code that comes with a data set is run.

    \b
    Examples:
      mghft data import saved_dataset --out memes
      mghft data import hf:user/memes --label emotion --out memes
      mghft data check memes/card.md --data memes
    """
    from mghft.pipeline.corpora.import_hf import CARD, Columns, import_data_set
    from mghft.pipeline.progress import bar

    with bar(doing="importing") as progress:
        done = import_data_set(source, out, Columns(image, label, text), progress=progress)
    for line in done.lines():
        typer.echo(line)
    typer.echo(f"corpus: {out}; use it with the card {out / CARD} and --data {out}")


@app.command("list")
def list_cards() -> None:
    """List the shipped data cards: labels, licence, size, variants.

    \b
    Example:
      mghft data list
    """
    from mghft.pipeline.corpora.card import card_names, load_card, read_front_matter

    rows = []
    for name in card_names():
        card = load_card(name)
        front = read_front_matter(card.source)
        licences = front.get("license", "unknown")
        found = "no labels, emoji" if card.adapter == "pack" else "labels found in the data"
        facts = [f"{len(card.labels)} labels" if card.labels else found]
        facts += front.get("size_categories") or []
        facts.append(f"licence {', '.join(licences) if isinstance(licences, list) else licences}")
        rows.append([name, f"{card.title}: {'; '.join(facts)}"])
        if card.variants:
            rows.append(["", f"variants: {' '.join(f'{name}:{variant}' for variant in card.variants)}"])
    print_table(None, rows)


@app.command()
def show(card: RequiredCard) -> None:
    """Show a data card: labels, splits, licence, where to get the corpus.

    \b
    Examples:
      mghft data show emoji
      mghft data show met-meme
    """
    from mghft.pipeline.corpora.card import load_card

    typer.echo(load_card(card).source.read_text(encoding="utf-8-sig"), nl=False)
