"""The command zero-shot."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import typer

from mghft import options
from mghft.output import print_facts, print_table

if TYPE_CHECKING:
    from mghft.pipeline.zero_shot.run import ZeroShotResult

_OWN: options.Group = (
    options.option(
        "text",
        Literal["both", "with", "without"],
        "text",
        "Ask with the words on the sticker in the prompt, without, or both; default both.",
    ),
    options.option("name", str, "name", "Name of the systems; default: the model's."),
    options.option(
        "transductive",
        bool,
        "transductive",
        "Calibrate on the judged stickers themselves too, in a system that is called so.",
    ),
)
# Rows have no views, so there is nothing to take over from other runs.
_ASKING = options.reworded(
    tuple(option for option in options.ASKING if option.name != "reuse"),
    attempts="Times to ask when the server refuses a sticker.",
    no_early_stop="Go on when the first 20 stickers are all refused; otherwise the run stops there.",
    allow_changed_images="Go on although pictures that were asked about are others now; their rows stay.",
)
_KEEPING = options.reworded(
    tuple(option for option in options.KEEPING if option.name in ("failed_limit", "dry_run")),
    dry_run="Ask about a handful, keep nothing, say what the rest will take.",
)


@options.with_options(
    options.CORPUS,
    options.OUT,
    options.MODEL,
    options.reworded(options.SELECTION, split="Only this split; default: all but train."),
    _OWN,
    options.WORKER,
    _ASKING,
    _KEEPING,
    options.reworded(options.SETTINGS, settings="Any field of the file, over everything else."),
    options.IMAGE,
    options.ENGINE,
    options.SERVER,
    options.VLLM,
)
def zero_shot(fields: Mapping[str, Any], config: Path | None, settings: list[str] | None) -> None:
    """Let a multimodal model name the emotions of stickers without training, and judge its answers.

    One pass over the stickers gives four systems: choice (one of the label words, forced), score
    (probabilities of lettered options, averaged over their K cyclic orders), calibrated (score without each
    class's own bias, estimated on the validation stickers, no label looked at), official (TGCA-PVT's prompt,
    free reply). The report and predictions.parquet lie in OUT. A run that was stopped goes on with the same
    command; 'mghft status', 'failed' and 'verify' know its folder, 'mghft compare' its predictions.

    \b
    Examples:
      mghft zero-shot emoji --data demo/data --out runs/zero-shot
      mghft zero-shot ser30k --data SER30K --model llava-hf/llava-1.5-7b-hf --out runs/llava
      mghft zero-shot ser30k --data SER30K --model NAME --out runs/server \\
        --engine openai --base-url http://localhost:8000/v1 --text with
    """
    from mghft.pipeline.settings import parse_assignments
    from mghft.pipeline.zero_shot.config import build_zero_shot_config

    resolved = build_zero_shot_config(config, fields, parse_assignments(settings or ()))
    from mghft.pipeline.zero_shot.run import zero_shot as run

    done = run(resolved)
    if resolved.run.dry_run:
        print_facts(cast("Mapping[str, Any]", done))
        return
    result = cast("ZeroShotResult", done)
    _show(result)
    from mghft.pipeline.describe.outcome import judge_run

    if (warning := judge_run(result.stats, resolved.run)) is not None:
        typer.echo(f"warning: {warning}", err=True)


def _show(result: "ZeroShotResult") -> None:
    report = result.report
    if report is None:
        typer.echo("other workers have stickers to do: the last one to end writes the report")
        return
    from mghft.pipeline.zero_shot.page import HEADER, cells

    print_facts({name: value for name, value in report.facts.items() if value is not None})
    for split, systems in report.splits.items():
        typer.echo(f"{split}, {systems[0]['stickers']} stickers")
        numeric = range(1, len(HEADER))
        print_table(HEADER, [cells(line) for line in systems], numeric=numeric)
        labels = list(systems[0]["predicted"])
        rows = [(line["system"], *line["predicted"].values()) for line in systems]
        print_table(("answered", *labels), rows, numeric=range(1, len(labels) + 1))
    for note in report.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {report.folder / 'zero_shot.md'}")
