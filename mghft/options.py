"""Options that several commands have, each told once."""

from pathlib import Path
from typing import Annotated

import typer

CardArgument = Annotated[
    str | None, typer.Argument(help="Data card: a shipped name or a path; CARD[:VARIANT…][@SPLITS].")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Root folder of the corpus.")]
# The same where a command cannot do without.
RequiredCard = Annotated[
    str, typer.Argument(help="Data card: a shipped name or a path; CARD[:VARIANT…][@SPLITS].")
]
RequiredData = Annotated[Path, typer.Option("--data", help="Root folder of the corpus.")]

WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE[,VALUE]",
        help="Only stickers that fit, field label, topic, split, subset or text (yes, no); != for all "
        "others; may be given several times.",
    ),
]
IdsOption = Annotated[Path | None, typer.Option(help="Only the ids in this file, one a line.")]
PerClassOption = Annotated[int | None, typer.Option(help="Only so many of every class, drawn by --seed.")]
SampleOption = Annotated[int | None, typer.Option(help="Only so many of all, drawn by --seed.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of --per-class and --sample.")]
LimitOption = Annotated[int | None, typer.Option(help="Only the first of what the others leave.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Model id or folder, or its name on a server; default: the shipped one.")
]
RevisionOption = Annotated[str | None, typer.Option(help="Revision of the model on the hub.")]
EngineOption = Annotated[
    str | None, typer.Option(help="vllm (in this process) or openai (a server that speaks its protocol).")
]
BaseUrlOption = Annotated[str | None, typer.Option(help="openai: address, as in http://localhost:8000/v1.")]
KeyOption = Annotated[
    str | None, typer.Option(help="openai: environment variable with the key; default OPENAI_API_KEY.")
]
AttemptsOption = Annotated[int | None, typer.Option(help="Times to ask when an answer is unusable.")]
RetryOption = Annotated[
    bool | None, typer.Option("--retry-failed", help="Ask again for stickers that failed before.")
]
