"""Commands on prompt packs: prompts list, show; score has a module of its own."""

from typing import Annotated

import typer

from mghft.prompts_score import score

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("score")(score)


@app.callback()
def _group() -> None:
    """List and show the prompts that a model is asked with.

    \b
    Example:
      mghft prompts show multiview
    """


@app.command("list")
def list_packs() -> None:
    """List the shipped prompt packs.

    \b
    Example:
      mghft prompts list
    """
    from pipeline.prompts import load_pack, pack_names

    for name in pack_names():
        pack = load_pack(name)
        typer.echo(f"{name:16} {pack.mode}, language {pack.language}")


@app.command()
def show(pack: Annotated[str, typer.Argument(help="Prompt pack: a shipped name or a path.")]) -> None:
    """Show what a model is asked, rendered for a sticker without text.

    \b
    Example:
      mghft prompts show multiview
    """
    from pipeline.corpus import Sticker
    from pipeline.prompts import load_pack

    loaded = load_pack(pack)
    sticker = Sticker(id="example", path="example.png", split="train")
    if loaded.system is not None:
        typer.echo(f"[system]\n{loaded.system}\n")
    for view in [None] if loaded.mode == "joint" else list(loaded.views):
        typer.echo(f"[user{'' if view is None else ', ' + view}]\n{loaded.render(sticker, view)}\n")
    typer.echo(f"[sampling]\n{loaded.sampling.model_dump_json()}")
