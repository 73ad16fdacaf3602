"""The command describe; what looks at its run lies in runs.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from mghft import options
from mghft.output import print_facts

if TYPE_CHECKING:
    from mghft.pipeline.runs.status import RunStats


@options.with_options(
    options.CORPUS,
    options.OUT,
    options.MODEL,
    options.PROMPT,
    options.SELECTION,
    options.WORKER,
    options.ASKING,
    options.KEEPING,
    options.SETTINGS,
    options.IMAGE,
    options.ENGINE,
    options.SERVER,
    options.VLLM,
)
def describe(fields: Mapping[str, Any], config: Path | None, settings: list[str] | None) -> None:
    """Describe the stickers of a corpus in four views with a multimodal model, under vLLM or on a server.

    A run that was stopped goes on with the same command; a finished one is left as it is. Which stickers:
    --split, --where, --ids, --per-class or --sample, --limit, in this order.

    \b
    Examples:
      mghft describe emoji --data demo/data --out demo/descriptions
      mghft describe emoji --data demo/data --out runs/few --where label=anger,fear --per-class 8
      mghft describe ser30k --data SER30K --out runs/ser30k --model llava-hf/llava-v1.6-mistral-7b-hf
      mghft describe emoji --data demo/data --out runs/server --model NAME \\
        --engine openai --base-url http://localhost:8000/v1
      mghft describe emoji --data demo/data --out demo/descriptions --dry-run
      mghft describe pack --data cats.wastickers --out runs/cats --frame middle
    """
    from mghft.pipeline.describe.config import build_describe_config
    from mghft.pipeline.settings import parse_assignments

    resolved = build_describe_config(config, fields, parse_assignments(settings or ()))
    from mghft.pipeline.describe.run import describe as run

    stats = run(resolved)
    print_facts(stats)
    if resolved.run.dry_run:
        return
    from mghft.pipeline.describe.outcome import judge_run

    typer.echo(f"descriptions: {resolved.run.out}")
    if (warning := judge_run(cast("RunStats", stats), resolved.run)) is not None:
        # The last line: who reads nothing else reads this.
        typer.echo(f"warning: {warning}", err=True)
