"""The commands prompts try and prompts history."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mghft import options as shared
from mghft.output import print_table


def try_packs(
    card: shared.CardArgument = None,
    data: shared.DataOption = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Prompt pack, a shipped name or a path; several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of tries, to write or to add to.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split; default: all but test.")] = None,
    where: shared.WhereOption = None,
    ids: shared.IdsOption = None,
    per_class: shared.PerClassOption = None,
    sample: shared.SampleOption = None,
    seed: shared.SeedOption = None,
    limit: shared.LimitOption = None,
    model: shared.ModelOption = None,
    revision: shared.RevisionOption = None,
    engine: shared.EngineOption = None,
    base_url: shared.BaseUrlOption = None,
    key_env: shared.KeyOption = None,
    attempts: shared.AttemptsOption = None,
    retry_failed: shared.RetryOption = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another run or folder of tries to take rows from; OUT's own are looked at anyway."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with any option of describe; options given here win.")
    ] = None,
) -> None:
    """Try prompts on the same few stickers: one engine start, one page with the texts side by side.

    Without a choice of stickers 8 of every class are drawn; the split test is left out, since whoever chooses
    a prompt by it has trained on it. Every try is kept in OUT; what was asked once is not asked again, by
    another try or by 'describe --reuse OUT'.

    \b
    Examples:
      mghft prompts try emoji --data demo/data --prompt multiview --prompt figure --out tries
      mghft prompts try emoji --data demo/data --prompt multiview --prompt mine.yaml --out tries \\
        --per-class 8 --seed 1 --where label=anger,fear
    """
    from mghft.pipeline.describe.config import build_describe_config
    from mghft.pipeline.settings import given

    if out is None:
        raise ValueError("prompts try needs a folder for the tries: give --out")
    overrides: dict[str, Any] = {
        "card": card,
        "data": data,
        "out": out,
        "split": split,
        "where": where,
        "ids": ids,
        "per_class": per_class,
        "sample": sample,
        "seed": seed,
        "limit": limit,
        "model": model,
        "revision": revision,
        "engine": engine,
        "server.base_url": base_url,
        "server.key_env": key_env,
        "attempts": attempts,
        "retry_failed": retry_failed,
        "reuse": reuse,
    }
    resolved = build_describe_config(config, given(overrides))
    from mghft.pipeline.trials.page import write_trial_page
    from mghft.pipeline.trials.trial import run_trial

    done = run_trial(resolved, prompt or [])
    page, summary = write_trial_page(done, resolved.data)
    rows = [["prompt", "ok", "failed", "tokens read", "tokens written", "asked now", "reused"]]
    for pack, stats in zip(done.manifest.packs, done.stats, strict=True):
        counts = [stats[key] for key in ("ok", "failed", "prompt_tokens", "output_tokens", "described_now")]
        rows.append([pack.title, *map(str, counts), str(stats.get("reused", 0))])
    typer.echo(f"{done.manifest.subset.stickers} stickers: {done.manifest.subset.words()}")
    print_table(rows[0], rows[1:])
    typer.echo(f"page: {page} ({page.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"summary: {summary}")


def history(
    tries: Annotated[Path, typer.Argument(help="Folder of tries ('prompts try … --out'), or one try in it.")],
) -> None:
    """List what was tried: date, stickers, prompt, model, rows, tokens, and the score where one was made.

    The score is the accuracy that 'mghft prompts score TRIES/try-001' wrote, with its interval, and macro F1.

    \b
    Example:
      mghft prompts history tries
    """
    from mghft.pipeline.trials.history import history as read

    entries, notes = read(tries)
    rows = [
        ["try", "date", "prompt", "model", "stickers", "ok", "failed", "read", "written", "accuracy", "F1"]
    ]
    rows[0].append("subset")
    for entry in entries:
        status = entry.status or {}
        counts = [str(status.get(key, "-")) for key in ("ok", "failed", "prompt_tokens", "output_tokens")]
        score = ["-", "-"]
        if entry.accuracy is not None and entry.interval is not None:
            low, high = entry.interval
            score = [f"{entry.accuracy:.3f} ({low:.3f} to {high:.3f})", f"{entry.f1_macro:.3f}"]
        subset = entry.manifest.subset
        date = entry.manifest.created[:16].replace("T", " ")
        head = [entry.folder.name, date, entry.pack.title, entry.manifest.model, str(subset.stickers)]
        rows.append([*head, *counts, *score, subset.words()])
    print_table(rows[0], rows[1:])
    for note in notes:
        typer.echo(f"note: {note}", err=True)
