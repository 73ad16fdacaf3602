"""Commands on the model: model info."""

from pathlib import Path
from typing import Annotated

import typer

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
    if name in PRESETS:
        config = MGHFTConfig.preset(name)
    else:
        config = MGHFTConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    from model.mghft import count_parameters

    for part, count in count_parameters(config).items():
        typer.echo(f"{part:24} {count:>13,}")
    typer.echo(f"image {config.image_size} px, {config.num_visual_tokens} visual tokens enter the fusion")
