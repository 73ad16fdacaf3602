"""The command eval."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mghft.options import CorrectionsOption
from mghft.output import print_table

_OF_MODELS, _MACHINE = "A model folder instead of runs", "Machine"


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders of 'mghft train'.")] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model folder, as 'mghft convert' writes it; then also --card.",
            rich_help_panel=_OF_MODELS,
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to evaluate; may be repeated. Default: validation, test.")
    ] = None,
    card: Annotated[
        str | None,
        typer.Option(
            help="With --model: the corpus, as in 'mghft train'.",
            rich_help_panel=_OF_MODELS,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Root of the corpus: of --model, or if a run's is elsewhere now.")
    ] = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="Descriptions: of --model, or if a run's are elsewhere now.")
    ] = None,
    corrections: CorrectionsOption = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            help="With --model: folder or id of its encoder (convert --text-encoder).",
            rich_help_panel=_OF_MODELS,
        ),
    ] = None,
    text_pooling: Annotated[
        Literal["last4_masked_mean", "last4_mean", "masked_mean", "cls"] | None,
        typer.Option(
            help="With --model: pooling; a converted checkpoint's is last4_mean.",
            rich_help_panel=_OF_MODELS,
        ),
    ] = None,
    view_texts: Annotated[
        Literal["own", "whole", "released"] | None,
        typer.Option(
            help="With --model: own, whole, released (a converted checkpoint's).",
            rich_help_panel=_OF_MODELS,
        ),
    ] = None,
    topic_context: Annotated[
        list[str] | None,
        typer.Option(
            help="Of TGCA-PVT: who shares a sticker's topic, self, batch (as released) or topic; may be "
            "repeated. Default: the run's own."
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Stickers at a time; default 64.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read images.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            help="Cache, if another than the run's.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    stickers: Annotated[int | None, typer.Option(help="How many stickers the report shows.")] = None,
    num_threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of torch on CPU.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    no_late_fusion: Annotated[
        bool,
        typer.Option("--no-late-fusion", help="No regression on texts and images, which reads train."),
    ] = False,
    expected: Annotated[
        Path | None,
        typer.Option(help="YAML of accuracies [low, high] by split, subset, system: says what is outside."),
    ] = None,
) -> None:
    """Evaluate trained runs beside majority, text only and late fusion, and write a report to look at.

    \b
    Examples:
      mghft eval demo/runs/text demo/runs/no-text --out report
      mghft eval runs/text runs/no-text --out report --expected benchmarks/expected_demo.yaml
      mghft eval runs/tgca --topic-context self --topic-context batch --topic-context topic --out report
      mghft eval --model converted --text-encoder converted-bert --card ser30k --data SER_Dataset \\
        --descriptions runs/released --split test --out report
    """
    from mghft.pipeline.settings import given
    from mghft.train.huge_pages import ask_for_huge_pages

    ask_for_huge_pages()
    from mghft.train.evaluation.saved_models import open_all
    from mghft.train.evaluation.trained_runs import build_eval_config

    options = {
        "runs": tuple(runs or ()),
        "model": model,
        "card": card,
        "text_encoder": text_encoder,
        "text_pooling": text_pooling,
        "view_texts": view_texts,
        "topic_contexts": tuple(topic_context) if topic_context else None,
        "batch_size": batch_size,
        "workers": workers,
        "out": out,
        "splits": tuple(split) if split else None,
        "data": data,
        "descriptions": descriptions,
        "corrections": corrections,
        "cache_dir": cache_dir,
        "stickers_shown": stickers,
        "num_threads": num_threads,
        "late_fusion": False if no_late_fusion else None,
    }
    config = build_eval_config(given(options))
    from mghft.train.evaluation.expected import compare, read_expected

    ranges = None if expected is None else read_expected(expected)
    # Runs are looked at before torch is there, so that a slip is answered at once.
    open_all(config)
    from mghft.train.evaluation.evaluate import evaluate as run
    from mghft.train.evaluation.results import WHOLE
    from mghft.train.evaluation.topics import topic_lines

    evaluation = run(config)
    for name, subsets in evaluation.splits.items():
        for subset, systems in subsets.items():
            typer.echo(name if subset == WHOLE else f"{name}, {subset}")
            print_table(
                ["  system", "accuracy", "F1 macro"],
                [
                    (f"  {system}", f"{metrics.accuracy:.3f}", f"{metrics.f1_macro:.3f}")
                    for system, metrics in systems.items()
                ],
                numeric=(1, 2),
            )
    for name, topics in evaluation.topics.items():
        for line in topic_lines(name, topics):
            typer.echo(line)
    for note in evaluation.notes:
        typer.echo(note)
    for line in () if ranges is None else compare(ranges, evaluation.splits):
        typer.echo(line)
    typer.echo(f"report: {config.out / 'index.html'}")
