"""Commands on the quality of a corpus: data duplicates, data stats, data import-mg."""

from pathlib import Path
from typing import Annotated

import typer

from mghft.options import RequiredCard, RequiredData
from mghft.output import print_table

_PAIRS_SHOWN = 10


def attach(app: typer.Typer) -> None:
    """Add the commands to the group `data`."""
    app.command("duplicates")(duplicates)
    app.command("stats")(stats)
    app.command("import-mg")(import_mg)


def import_mg(
    annotations: Annotated[
        Path, typer.Argument(help="Folder with Annotations_mg/image-level/*.json, or one of these files.")
    ],
    card: RequiredCard,
    data: RequiredData,
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
) -> None:
    """Read annotation files of the released MGHFT code into a run folder, for train, status, preview, export.

    A text must have exactly four markers (intention, style, main role, gesture) in this order, as that code
    needs it. Rows that break this become failed rows with the reason; 'mghft failed OUT' lists them.

    \b
    Example:
      mghft data import-mg SER_Dataset ser30k --data SER_Dataset --out runs/their-texts
    """
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.exports.import_mghft_annotations import import_annotations

    for line in import_annotations(annotations, load_corpus(load_card(card), data), out).lines():
        typer.echo(line, err=True)
    typer.echo(f"descriptions: {out}")


def duplicates(
    card: RequiredCard,
    data: RequiredData,
    out: Annotated[Path, typer.Option(help="Folder for duplicates.csv, duplicates.json, duplicates.html.")],
    near: Annotated[
        float,
        typer.Option(
            min=0,
            max=64,
            help="Largest difference of near duplicates, 0 to 64; 0 looks for exact ones alone.",
        ),
    ] = 15.0,
    drop_leaks: Annotated[
        bool,
        typer.Option("--drop-leaks", help="Write OUT/clean-split.csv: the split without what leaks."),
    ] = False,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs on the page.")] = 60,
) -> None:
    """Find duplicated images (same bytes, same pixels, nearly the same, mirrored) and what leaks.

    Every image is decoded once: first frame, transparency on white. Two labels for one picture and topics
    shared by train and test are counted. --drop-leaks leaves stickers of train and validation out whose
    picture is in test (or, of train, in validation); the corpus stays as it is, test stays whole, and an
    existing clean split is never replaced.

    \b
    Examples:
      mghft data duplicates emoji --data demo/data --out duplicates
      mghft data duplicates ser30k --data SER_Dataset --out duplicates --drop-leaks
      mghft train ser30k@duplicates/clean-split.csv --data SER_Dataset --no-text --out runs/clean
    """
    from mghft.pipeline.audit.duplicates import find_duplicates
    from mghft.pipeline.audit.duplicates_report import check_report, pair_line, summarize, write_report
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.progress import bar
    from mghft.pipeline.text import plural

    check_report(out, drop_leaks=drop_leaks)
    corpus = load_corpus(load_card(card), data)
    with bar() as progress:
        found = find_duplicates(corpus, near=near, progress=progress)
    for line in summarize(found):
        typer.echo(line)
    for pair in found.pairs[:_PAIRS_SHOWN]:
        typer.echo(f"  {pair_line(pair)}")
    if len(found.pairs) > _PAIRS_SHOWN:
        typer.echo(f"  and {len(found.pairs) - _PAIRS_SHOWN} more")
    if drop_leaks:
        typer.echo(f"left out of the clean split: {plural(found.leaks, 'sticker')}")
    written = write_report(found, out, drop_leaks=drop_leaks, shown=pairs)
    for path in written:
        typer.echo(f"written: {path}")
    if drop_leaks:
        typer.echo(f"read the corpus with it as {card}@{written[-1]}")


def stats(
    card: RequiredCard,
    data: RequiredData,
    out: Annotated[
        Path | None, typer.Option(help="Folder for stats.json, charts and a sheet of samples per class.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Stickers on a sheet.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
) -> None:
    """Count what a corpus is made of: classes by split, image sizes and modes, lengths and scripts of texts.

    Of images only headers are read. Languages are told apart by script (Latin, Han, Kana, Hangul ...): the
    texts on stickers are too short for a language detector. With --out also as pictures.

    \b
    Examples:
      mghft data stats emoji --data demo/data
      mghft data stats emoji --data demo/data --out stats --sample 40 --seed 1
    """
    from mghft.pipeline.audit.statistics import corpus_stats
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.files import check_folder, write_json
    from mghft.pipeline.progress import bar

    if out is not None:
        check_folder(out)
    corpus = load_corpus(load_card(card), data)
    with bar() as progress:
        found = corpus_stats(corpus, progress=progress)
    header, rows = found.class_table()
    typer.echo(f"{found.stickers} stickers of {found.corpus}\n")
    print_table(["", *header[1:]], rows, numeric=range(1, len(header)))
    typer.echo()
    for line in found.sentences():
        typer.echo(line)
    if out is None:
        return
    from mghft.pipeline.audit.figures import draw_sheets, draw_stats

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "stats.json", found.to_dict())
    written = [out / "stats.json", *draw_stats(found, corpus, out)]
    for path in [*written, *draw_sheets(corpus, out, count=sample, seed=seed)]:
        typer.echo(f"written: {path}")
