"""The command describe; what looks at its run lies in runs.py."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mghft import options as shared
from mghft.output import print_facts


def describe(
    card: shared.CardArgument = None,
    data: shared.DataOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write, or to go on with.")] = None,
    model: shared.ModelOption = None,
    revision: shared.RevisionOption = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt pack: a shipped name or a path.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    where: shared.WhereOption = None,
    ids: shared.IdsOption = None,
    per_class: shared.PerClassOption = None,
    sample: shared.SampleOption = None,
    seed: shared.SeedOption = None,
    limit: shared.LimitOption = None,
    shard: Annotated[str | None, typer.Option(help="Part i of n, as 'i/n', one process per part.")] = None,
    attempts: shared.AttemptsOption = None,
    retry_failed: shared.RetryOption = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            help="Earlier run, or folder of tries: rows with the same model, prompt, sampling and image are "
            "taken over instead of asked again; may be given several times."
        ),
    ] = None,
    embed_images: Annotated[
        bool | None, typer.Option("--embed-images", help="Keep the image bytes in the shards.")
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="End with an error when a sticker failed.")
    ] = None,
    dry_run: Annotated[
        bool | None,
        typer.Option("--dry-run", help="Describe a handful, keep nothing, say what the rest will take."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file; options given here win over it.")] = None,
    background: Annotated[str | None, typer.Option(help="Colour under transparency, R,G,B.")] = None,
    frame: Annotated[
        str | None,
        typer.Option(help="Frame of an animation: first, middle, a number, or sheet:K for K of them."),
    ] = None,
    max_side: Annotated[int | None, typer.Option(help="Shrink larger images to this side.")] = None,
    engine: shared.EngineOption = None,
    base_url: shared.BaseUrlOption = None,
    key_env: shared.KeyOption = None,
    concurrency: Annotated[int | None, typer.Option(help="openai: requests in flight at once.")] = None,
    price_input: Annotated[
        float | None, typer.Option(help="openai: money for a million prompt tokens, for the estimate.")
    ] = None,
    price_output: Annotated[
        float | None, typer.Option(help="openai: money for a million written tokens.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="vllm: number format.")] = None,
    max_model_len: Annotated[int | None, typer.Option(help="vllm: longest context.")] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(help="vllm: share of the GPU's memory.")
    ] = None,
    tensor_parallel_size: Annotated[int | None, typer.Option(help="vllm: GPUs for one model.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = None,
) -> None:
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
    """
    overrides: dict[str, Any] = {
        "card": card,
        "data": data,
        "out": out,
        "model": model,
        "revision": revision,
        "prompt": prompt,
        "split": split,
        "where": where,
        "ids": ids,
        "per_class": per_class,
        "sample": sample,
        "seed": seed,
        "limit": limit,
        "part": shard,
        "attempts": attempts,
        "retry_failed": retry_failed,
        "reuse": reuse,
        "embed_images": embed_images,
        "strict": strict,
        "dry_run": dry_run,
        "trust_remote_code": trust_remote_code,
        "image.background": None if background is None else parse_colour(background),
        "image.frame": frame,
        "image.max_side": max_side,
        "engine": engine,
        "server.base_url": base_url,
        "server.key_env": key_env,
        "server.concurrency": concurrency,
        "server.price_input": price_input,
        "server.price_output": price_output,
        "vllm.dtype": dtype,
        "vllm.max_model_len": max_model_len,
        "vllm.gpu_memory_utilization": gpu_memory_utilization,
        "vllm.tensor_parallel_size": tensor_parallel_size,
    }
    from mghft.pipeline.describe.config import build_describe_config
    from mghft.pipeline.settings import given

    resolved = build_describe_config(config, given(overrides))
    from mghft.pipeline.describe.run import describe as run

    print_facts(run(resolved))
    if not resolved.dry_run:
        typer.echo(f"descriptions: {resolved.out}")


def parse_colour(text: str) -> tuple[int, int, int]:
    """Three numbers from 0 to 255, as in '255,255,255'.

    Raises:
        ValueError: the text is something else.
    """
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(numbers) != 3 or len(text.split(",")) != 3 or max(numbers) > 255:
        raise ValueError(f"--background is {text!r}: give three numbers from 0 to 255, as in 255,255,255")
    red, green, blue = numbers
    return red, green, blue
