"""Commands on the model: model info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from model.config import MGHFTConfig

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Facts about the model.

    \b
    Example:
      mghft model info default
    """


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="Preset (default, official, tiny) or a folder with config.json.")
    ] = "default",
) -> None:
    """Count the parameters of a preset or of a trained model, part by part.

    \b
    Examples:
      mghft model info official
      mghft model info demo/runs/text/best
    """
    from model.config import PRESETS, MGHFTConfig

    folder = Path(name)
    if name not in PRESETS and not (folder / "config.json").is_file():
        raise ValueError(
            f"'{name}' is no preset and no folder with a config.json: the presets are {', '.join(PRESETS)}"
        )
    config = MGHFTConfig.preset(name) if name in PRESETS else _read_config(folder / "config.json")
    from model.mghft import count_parameters

    for part, count in count_parameters(config).items():
        typer.echo(f"{part:24} {count:>13,}")
    typer.echo(f"image {config.image_size} px, {config.num_visual_tokens} visual tokens enter the fusion")


def _read_config(path: Path) -> MGHFTConfig:
    from pydantic import ValidationError

    from model.config import MGHFTConfig

    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields.pop("model_type", None)
        return MGHFTConfig(**fields)
    except (ValidationError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not the configuration of an MGHFT model: give a folder 'best' of 'mghft train'"
        ) from None
