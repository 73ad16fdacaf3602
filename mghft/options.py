"""Options of commands, each defined once: parameter, type, help, and the field of the configuration it fills.

A command takes groups of them with `with_options`; this module loads nothing heavy, since `--help` needs it.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from mghft.shell import FLAGS_OF_FIELDS, check_not_folder

CardArgument = Annotated[
    str | None,
    typer.Argument(
        help="Data card: a shipped name or a path; CARD[:VARIANT…][@SPLITS].", callback=check_not_folder
    ),
]
_DATA_HELP = "Root folder of the corpus; of a sticker pack also its archive."
DataOption = Annotated[Path | None, typer.Option("--data", help=_DATA_HELP)]
CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        "--corrections", help="CSV of sticker, view, text laid over the descriptions; the run stays as it is."
    ),
]
# The same where a command cannot do without.
RequiredCard = Annotated[
    str,
    typer.Argument(
        help="Data card: a shipped name or a path; CARD[:VARIANT…][@SPLITS].", callback=check_not_folder
    ),
]
RequiredData = Annotated[Path, typer.Option("--data", help=_DATA_HELP)]


@dataclass(frozen=True)
class Option:
    """One option of a command; its value is None where it is not given.

    Attributes:
        name: of the parameter.
        annotation: type and Typer's own description.
        field: of the configuration, a dot reaches inside; None: the command takes the value by name.
        parse: makes the field's value of what was given.
    """

    name: str
    annotation: Any
    field: str | None
    parse: Callable[[Any], Any] | None = None


Group = tuple[Option, ...]


def with_options(*groups: Group) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these groups, in this order.

    The command is called with the fields that were given, one mapping from field to value, and by name with
    the options that fill no field.
    """
    options = [option for group in groups for option in group]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            from mghft.pipeline.settings import given

            fields = given({option.field: values.pop(option.name) for option in options if option.field})
            for option in options:
                if option.parse is not None and option.field in fields:
                    fields[option.field] = option.parse(fields[option.field])
            command(fields, **values)

        # Typer makes the options of what the signature says, not of the function's own parameters.
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    option.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option.annotation
                )
                for option in options
            ]
        )
        return run

    return decorate


def reworded(group: Group, **helps: str) -> Group:
    """Return a group with other help for some of its options, by name."""
    return tuple(_with_help(option, helps.get(option.name)) for option in group)


def in_section(title: str, group: Group) -> Group:
    """Return a group whose options stand below a title in the help."""
    return tuple(_changed(option, rich_help_panel=title) for option in group)


def _changed(option: Option, **attributes: Any) -> Option:
    kind, info = get_args(option.annotation)
    info = copy(info)
    for name, value in attributes.items():
        setattr(info, name, value)
    return replace(option, annotation=Annotated[kind, info])


def _with_help(option: Option, text: str | None) -> Option:
    if text is None:
        return option
    return _changed(option, help=text)


def option(
    name: str,
    kind: Any,
    field: str | None,
    text: str,
    *flags: str,
    metavar: str | None = None,
    parse: Callable[[Any], Any] | None = None,
    section: str | None = None,
) -> Option:
    """Define an option.

    Args:
        name: of the parameter.
        kind: type of the value; a bool is a flag without a value.
        field: of the configuration.
        text: its help.
        flags: names on the command line; by default the parameter's, with dashes.
        metavar: for the value in the help, by default its type.
        parse: makes the field's value of what was given.
        section: of the help.
    """
    # With a name of its own a flag has no counterpart `--no-…`.
    flags = flags or (f"--{name.replace('_', '-')}",)
    if field is not None:
        FLAGS_OF_FIELDS[field] = tuple({*FLAGS_OF_FIELDS.get(field, ()), *flags})
    info = typer.Option(*flags, help=text, metavar=metavar, rich_help_panel=section)
    return Option(name, Annotated[kind | None, info], field, parse)


def parse_colour(text: str) -> tuple[int, int, int]:
    """Read three numbers from 0 to 255, as in '255,255,255'.

    Raises:
        ValueError: the text is something else.
    """
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(numbers) != 3 or len(text.split(",")) != 3 or max(numbers) > 255:
        raise ValueError(f"--background is {text!r}: give three numbers from 0 to 255, as in 255,255,255")
    red, green, blue = numbers
    return red, green, blue


CORPUS: Group = (
    Option("card", CardArgument, "corpus.card"),
    Option("data", DataOption, "corpus.data"),
)
OUT: Group = (option("out", Path, "run.out", "Run folder to write, or to go on with."),)
MODEL: Group = in_section(
    "Model",
    (
        option(
            "model",
            str,
            "engine.model",
            "Model id or folder, or its name on a server, which is asked for it even if it does not list it; "
            "default: tiny-llava, the shipped one.",
        ),
        option("revision", str, "engine.revision", "Revision of the model on the hub."),
    ),
)
PROMPT: Group = in_section(
    "Model", (option("prompt", str, "prompt", "Prompt pack: a shipped name or a path."),)
)
SELECTION: Group = in_section(
    "Which stickers",
    (
        option("split", str, "selection.split", "Only this split."),
        option(
            "where",
            list[str],
            "selection.where",
            "Only stickers that fit, field label, topic, split, subset or text (yes, no); != for all others; "
            "may be given several times.",
            metavar="FIELD=VALUE[,VALUE]",
        ),
        option("ids", Path, "selection.ids", "Only the ids in this file, one a line."),
        option("per_class", int, "selection.per_class", "Only so many of every class, drawn by --seed."),
        option("sample", int, "selection.sample", "Only so many of all, drawn by --seed."),
        option("seed", int, "selection.seed", "Seed of --per-class and --sample."),
        option("limit", int, "selection.limit", "Only the first of what the others leave."),
    ),
)
WORKER: Group = in_section(
    "Which stickers",
    (
        option(
            "worker",
            str,
            "run.worker",
            "Worker i of n, as 'i/n': several processes fill one folder.",
            "--worker",
            "--shard",
        ),
    ),
)
ASKING: Group = in_section(
    "Asking",
    (
        option("attempts", int, "run.attempts", "Times to ask when an answer is unusable."),
        option("retry_failed", bool, "run.retry_failed", "Ask again for stickers that failed before."),
        option(
            "no_early_stop",
            bool,
            "run.early_stop",
            "Go on when the first 20 answers are all unusable; otherwise the run stops there.",
            parse=operator.not_,
        ),
        option(
            "allow_changed_images",
            bool,
            "run.allow_changed_images",
            "Go on with a run although pictures that it described are others now; their rows stay.",
        ),
        option(
            "reuse",
            list[Path],
            "run.reuse",
            "Earlier run, or folder of trials: rows with the same model, prompt, sampling and "
            "image are taken "
            "over instead of asked again; may be given several times.",
        ),
    ),
)
KEEPING: Group = in_section(
    "What is kept",
    (
        option("embed_images", bool, "run.embed_images", "Keep the image bytes in the shards."),
        option("strict", bool, "run.strict", "End with an error when a sticker failed."),
        option(
            "failed_limit",
            float,
            "run.failed_limit",
            "Share of failed stickers above which the end says so, 0 to 1; default 0.1.",
            metavar="SHARE",
        ),
        option(
            "dry_run", bool, "run.dry_run", "Describe a handful, keep nothing, say what the rest will take."
        ),
    ),
)
SETTINGS: Group = in_section(
    "Settings",
    (
        option("config", Path, None, "YAML file; options given here win over it."),
        option(
            "settings",
            list[str],
            None,
            "Any field of the file, over everything else; a dot reaches inside: run.window=64.",
            "--set",
            metavar="KEY=VALUE",
        ),
    ),
)
IMAGE: Group = in_section(
    "Pictures",
    (
        option(
            "background", str, "image.background", "Colour under transparency, R,G,B.", parse=parse_colour
        ),
        option(
            "frame",
            str,
            "image.frame",
            "Frame of an animation: first, middle, a number, or sheet:K for K of them.",
        ),
        option("max_side", int, "image.max_side", "Shrink larger images to this side."),
    ),
)
ENGINE: Group = in_section(
    "Server",
    (
        option(
            "engine",
            Literal["vllm", "openai"],
            "engine.kind",
            "vllm (in this process) or openai (a server that speaks its protocol).",
        ),
        option("base_url", str, "engine.server.base_url", "openai: address, as in http://localhost:8000/v1."),
        option(
            "key_env",
            str,
            "engine.server.key_env",
            "openai: environment variable with the key; default OPENAI_API_KEY.",
        ),
    ),
)
SERVER: Group = in_section(
    "Server",
    (
        option("concurrency", int, "engine.server.concurrency", "openai: requests in flight at once."),
        option(
            "price_input",
            float,
            "engine.server.price_input",
            "openai: money for a million prompt tokens, for the estimate.",
        ),
        option(
            "price_output", float, "engine.server.price_output", "openai: money for a million written tokens."
        ),
    ),
)
VLLM: Group = in_section(
    "vLLM",
    (
        option(
            "dtype",
            str,
            "engine.vllm.dtype",
            "vllm: number format; auto: the fast one of a CPU, the checkpoint's on a GPU.",
        ),
        option("max_model_len", int, "engine.vllm.max_model_len", "vllm: longest context."),
        option(
            "gpu_memory_utilization",
            float,
            "engine.vllm.gpu_memory_utilization",
            "vllm: share of the GPU's memory.",
        ),
        option("tensor_parallel_size", int, "engine.vllm.tensor_parallel_size", "vllm: GPUs for one model."),
        option("trust_remote_code", bool, "engine.trust_remote_code", "Run code that comes with the model."),
    ),
)
