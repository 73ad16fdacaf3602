"""The command eval."""

from pathlib import Path
from typing import Annotated

import typer

from mghft.output import print_table


def evaluate(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of 'mghft train', one or more.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Split to evaluate; may be repeated. Default: validation, test.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Root of the corpus, if it is elsewhere now.")] = None,
    descriptions: Annotated[
        Path | None, typer.Option(help="Descriptions, if they are elsewhere now.")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Cache, if another than the run's.")] = None,
    stickers: Annotated[int | None, typer.Option(help="How many stickers the report shows.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="Threads of torch on CPU.")] = None,
) -> None:
    """Evaluate trained runs beside two baselines, majority and text only, and write a report to look at.

    \b
    Example:
      mghft eval demo/runs/text demo/runs/no-text --out report
    """
    from mghft.pipeline.settings import given
    from mghft.train.evaluation.trained_runs import build_eval_config, open_runs

    options = {
        "runs": tuple(runs),
        "out": out,
        "splits": tuple(split) if split else None,
        "data": data,
        "descriptions": descriptions,
        "cache_dir": cache_dir,
        "stickers_shown": stickers,
        "num_threads": num_threads,
    }
    config = build_eval_config(given(options))
    # Runs are looked at before torch is there, so that a slip is answered at once.
    open_runs(config.runs, config.moved)
    from mghft.train.evaluation.evaluate import evaluate as run
    from mghft.train.evaluation.results import WHOLE

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
    typer.echo(f"report: {config.out / 'index.html'}")
