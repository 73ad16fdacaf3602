"""The command train."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mghft.options import CardArgument, CorrectionsOption, DataOption

if TYPE_CHECKING:
    from mghft.train.config import TrainConfig


_START, _SETTINGS, _PICTURES = "Going on and checks", "Settings", "Pictures"
_MACHINE = "Machine and logs"


def train(
    card: CardArgument = None,
    data: DataOption = None,
    descriptions: Annotated[Path | None, typer.Option(help="Run folder of 'mghft describe'.")] = None,
    corrections: CorrectionsOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to write.")] = None,
    network: Annotated[
        Literal["mghft", "pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"] | None,
        typer.Option(help="mghft, or one that it is compared with."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Recipe the values come from: mghft (the paper) or cpu (small).")
    ] = "mghft",
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with fields of the configuration.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume",
            help="Go on with the run in --out; start it if there is none.",
            rich_help_panel=_START,
        ),
    ] = None,
    allow_changes: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD[,FIELD]",
            rich_help_panel=_START,
            help="With --resume: fields that may differ; it is recorded.",
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_START,
            help="Begin a new run with the weights of a run, a model folder or a hub id.",
        ),
    ] = None,
    num_processes: Annotated[
        int,
        typer.Option(
            min=1, rich_help_panel=_MACHINE, help="Processes on this machine; they share the CPU's threads."
        ),
    ] = 1,
    tracker: Annotated[
        Literal["tensorboard", "wandb"] | None,
        typer.Option(
            rich_help_panel=_MACHINE,
            help="Also log to tensorboard or wandb, in the run folder; nothing is sent.",
        ),
    ] = None,
    overfit: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=_START, help="Overfit check: learn N stickers, to 99 % at least."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=_START,
            help="A few steps of everything, kept nowhere: memory, time, size.",
        ),
    ] = False,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="The same network without text, for comparison.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training split.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Stickers per step and process.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of weights, order and augmentation.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            help="BERT-like encoder: id, folder or 'minilm'.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    images: Annotated[
        Literal["files", "shards"] | None,
        typer.Option(
            rich_help_panel=_PICTURES,
            help="Where images come from: files of --data, or shards that embed them (no --data).",
        ),
    ] = None,
    allow_changed_images: Annotated[
        bool | None,
        typer.Option(
            "--allow-changed-images",
            rich_help_panel=_PICTURES,
            help="Train although images are not those that were described.",
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict",
            rich_help_panel=_PICTURES,
            help="Refuse images that cannot be decoded; else they are left out and told.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read images.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    num_threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of torch on CPU.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of decoded images and text features.",
            rich_help_panel=_MACHINE,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=_SETTINGS,
            help="Any field; a dot reaches inside: model.alpha=4.",
        ),
    ] = None,
    fields: Annotated[
        bool,
        typer.Option(
            "--fields",
            help="List every field with its default.",
            rich_help_panel=_SETTINGS,
        ),
    ] = False,
) -> None:
    """Train MGHFT on described stickers; options win over --config, which wins over the recipe.

    A network that MGHFT is compared with (--network) reads no descriptions: lora, tgca-pvt and pvt-bert
    read the text on the sticker, tgca-pvt its topic too, lora-v and pvt the picture alone.

    \b
    Examples:
      mghft train emoji --data demo/data --descriptions demo/descriptions --recipe cpu --out runs/text
      mghft train emoji --data demo/data --recipe cpu --no-text --out runs/no-text --set model.alpha=2
      mghft train emoji --descriptions runs/emoji --images shards --recipe cpu --out runs/text
      mghft train emoji --data demo/data --descriptions demo/descriptions --recipe cpu --out runs/even \\
        --set imbalance.class_weights=balanced
      mghft train ser30k --data SER30K --descriptions runs/ser30k --out runs/mghft --num-processes 2
      mghft train ser30k --data SER30K --descriptions runs/ser30k --out runs/mghft --dry-run
      mghft train emoji --data demo/data --recipe cpu --no-text --out runs/check --overfit 16
      mghft train emoji --data demo/data --recipe cpu --no-text --out runs/seen --tracker tensorboard
      mghft train emoji --data demo/data --recipe cpu --no-text --out runs/no-text --resume
      mghft train emoji --data demo/data --recipe cpu --network lora --out runs/lora
      mghft train --fields
    """
    if fields:
        _list_fields()
        return
    options: dict[str, Any] = {
        "card": card,
        "data": data,
        "descriptions": descriptions,
        "corrections": corrections,
        "out": out,
        "network": network,
        "resume": resume,
        "allow_changes": None if allow_changes is None else tuple(allow_changes.split(",")),
        "init_from": init_from,
        "tracker": tracker,
        "overfit": overfit,
        "use_text": False if no_text else None,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "text_encoder": text_encoder,
        "images": images,
        "allow_changed_images": allow_changed_images,
        "strict": strict,
        "workers": workers,
        "num_threads": num_threads,
        "cache_dir": cache_dir,
    }
    from mghft.pipeline.settings import given, parse_assignments
    from mghft.train.config import load_config

    resolved = load_config(recipe, config, {**given(options), **parse_assignments(settings or ())})
    # Configuration and folders are checked before torch is loaded, so that a slip is answered at once.
    from mghft.train.data.descriptions import check_encoder, check_sources
    from mghft.train.options import READS_OWN_TEXT

    check_sources(resolved.sources, use_text=resolved.use_text)
    if resolved.use_text or resolved.network in READS_OWN_TEXT:
        check_encoder(resolved.text_encoder)
    if resolved.strict and "RANK" not in os.environ:
        from mghft.train.data.strict import refuse_unusable

        refuse_unusable(resolved)
    from mghft.train.distributed import launch

    if num_processes > 1 and not launch.launched():
        from mghft.pipeline.waiting import now_doing

        # The first of the processes speaks.
        now_doing(None)
        raise typer.Exit(launch.launch_processes(sys.argv[1:], num_processes))
    launch.end_with_launcher()
    from mghft.train.distributed.collectives import ProcessLostError
    from mghft.train.huge_pages import ask_for_huge_pages

    ask_for_huge_pages()
    try:
        _run(resolved, dry_run=dry_run)
    except ProcessLostError:
        if launch.launched_here():
            raise typer.Exit(launch.LOST) from None
        raise


def _run(config: "TrainConfig", *, dry_run: bool) -> None:
    main = os.environ.get("RANK", "0") == "0"
    if dry_run:
        from mghft.train.trainer.dry_run import dry_run as try_out
        from mghft.train.trainer.dry_run import format_report

        report = format_report(try_out(config))
        if main:
            typer.echo(report)
        return
    from mghft.train.trainer.overfit import verdict
    from mghft.train.trainer.trainer import train as train_run

    folder = train_run(config)
    if main:
        typer.echo(f"run: {folder} (weights in {folder / 'best'})")
        if config.overfit is not None:
            typer.echo(verdict(folder, config.overfit))


def _list_fields() -> None:
    from mghft.pipeline.settings import describe_fields
    from mghft.train.config import TrainConfig

    for line in describe_fields(TrainConfig):
        typer.echo(line)
