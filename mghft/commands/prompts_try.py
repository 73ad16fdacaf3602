"""The commands prompts try and prompts history."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mghft import options
from mghft.output import print_table


@options.with_options(
    options.CORPUS,
    (options.option("prompt", list[str], None, "Prompt pack, a shipped name or a path; several times."),),
    options.reworded(options.OUT, out="Folder of trials, to write or to add to."),
    options.reworded(options.SELECTION, split="Only this split; default: all but test."),
    options.MODEL,
    options.ENGINE,
    options.reworded(
        options.ASKING,
        reuse="Another run or folder of trials to take rows from; OUT's own are looked at anyway.",
    ),
    options.reworded(
        options.SETTINGS, config="YAML file with any option of describe; options given here win."
    ),
)
def try_packs(
    fields: Mapping[str, Any],
    prompt: list[str] | None,
    config: Path | None,
    settings: list[str] | None,
) -> None:
    """Try prompts on the same few stickers: one engine start, one page with the texts side by side.

    Without a choice of stickers 8 of every class are drawn; the split test is left out, since whoever chooses
    a prompt by it has trained on it. Every trial is kept in OUT; what was asked once is not asked again, by
    another trial or by 'describe --reuse OUT'.

    \b
    Examples:
      mghft prompts try emoji --data demo/data --prompt multiview --prompt figure --out trials
      mghft prompts try emoji --data demo/data --prompt multiview --prompt mine.yaml --out trials \\
        --per-class 8 --seed 1 --where label=anger,fear
    """
    from mghft.pipeline.describe.config import build_describe_config
    from mghft.pipeline.settings import parse_assignments

    if "run.out" not in fields:
        raise ValueError("prompts try needs a folder for the trials: give --out")
    resolved = build_describe_config(config, fields, parse_assignments(settings or ()))
    from mghft.pipeline.corpora.archives import pack_folder
    from mghft.pipeline.describe.outcome import judge_run
    from mghft.pipeline.trials.page import write_trial_page
    from mghft.pipeline.trials.run import run_trial

    done = run_trial(resolved, prompt or [])
    page, summary = write_trial_page(done, pack_folder(resolved.corpus.data))
    rows = [["prompt", "ok", "failed", "tokens read", "tokens written", "asked now", "reused"]]
    for pack, stats in zip(done.manifest.packs, done.stats, strict=True):
        counts = [stats["ok"], stats["failed"], stats["prompt_tokens"], stats["output_tokens"]]
        counts += [stats["described_now"], stats.get("reused", 0)]
        rows.append([pack.title, *map(str, counts)])
    typer.echo(f"{done.manifest.subset.stickers} stickers: {done.manifest.subset.words()}")
    print_table(rows[0], rows[1:])
    typer.echo(f"page: {page} ({page.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"summary: {summary}")
    for pack, stats in zip(done.manifest.packs, done.stats, strict=True):
        warning = judge_run(stats, resolved.run.model_copy(update={"out": done.folder / pack.folder}))
        if warning is not None:
            typer.echo(f"warning: {pack.title}: {warning}", err=True)


def history(
    trials: Annotated[
        Path, typer.Argument(help="Folder of trials ('prompts try … --out'), or one trial in it.")
    ],
) -> None:
    """List what was tried: date, stickers, prompt, model, rows, tokens, and the score where one was made.

    The score is the accuracy that 'mghft prompts score TRIALS/try-001' wrote, its interval, and macro F1.

    \b
    Example:
      mghft prompts history trials
    """
    from mghft.pipeline.trials.history import read_history

    entries, notes = read_history(trials)
    head = "trial date prompt model stickers ok failed read written accuracy F1 subset"
    rows = [head.split()]
    for entry in entries:
        status, subset = entry.status, entry.manifest.subset
        counts = ["-"] * 4
        if status is not None:
            tokens = (status["prompt_tokens"], status["output_tokens"])
            counts = [str(count) for count in (status["ok"], status["failed"], *tokens)]
        score = ["-", "-"]
        if entry.score is not None:
            accuracy, f1, low, high = entry.score
            score = [f"{accuracy:.3f} ({low:.3f} to {high:.3f})", f"{f1:.3f}"]
        date = entry.manifest.created[:16].replace("T", " ")
        title = [entry.folder.name, date, entry.pack.title, entry.manifest.model, str(subset.stickers)]
        rows.append([*title, *counts, *score, subset.words()])
    print_table(rows[0], rows[1:])
    for note in notes:
        typer.echo(f"note: {note}", err=True)
