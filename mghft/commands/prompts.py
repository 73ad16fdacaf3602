"""Commands on prompt packs: prompts list, show, check; try, history and score have modules of their own."""

from typing import Annotated

import typer

from mghft.commands import prompts_score, prompts_try

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at the prompts that a model is asked with, try some of them side by side, and see what was tried.

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
    from mghft.pipeline.prompting.load import load_pack, pack_names

    for name in pack_names():
        pack = load_pack(name)
        typer.echo(f"{name:16} {pack.mode:9} {pack.language:4} {pack.about or ''}".rstrip())


@app.command()
def show(
    pack: Annotated[str, typer.Argument(help="Prompt pack: a shipped name or a path.")],
    text: Annotated[str | None, typer.Option(help="As for a sticker that carries this text.")] = None,
) -> None:
    """Show what a model is asked, rendered for a sticker without text, or with one.

    \b
    Examples:
      mghft prompts show multiview
      mghft prompts show with-text --text "good night"
    """
    from mghft.pipeline.corpora.sticker import Sticker
    from mghft.pipeline.prompting.load import load_pack

    loaded = load_pack(pack)
    sticker = Sticker(id="example", path="example.png", split="train", text=text)
    if loaded.system is not None:
        typer.echo(f"[system]\n{loaded.system}\n")
    for view, message in loaded.messages(sticker):
        typer.echo(f"[user{'' if view is None else ', ' + view}]\n{message}\n")
    typer.echo(f"[sampling]\n{loaded.sampling.model_dump_json()}")


@app.command()
def check(
    packs: Annotated[
        list[str] | None, typer.Argument(help="Packs, shipped names or paths; default: all shipped ones.")
    ] = None,
    card: Annotated[
        str | None, typer.Option(help="Data card: also look for its labels in the prompt.")
    ] = None,
) -> None:
    """Check prompt packs: every problem with file, field and line, and notes on what may be meant otherwise.

    Ends with 1 when a pack cannot be used; notes alone are no failure.

    \b
    Examples:
      mghft prompts check
      mghft prompts check prompts/multiview.yaml --card emoji
    """
    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.prompting.lint import pack_notes
    from mghft.pipeline.prompting.load import find_pack, pack_names, read_pack

    labels = [] if card is None else load_card(card).labels
    broken = False
    for name in packs or pack_names():
        pack, problems = read_pack(find_pack(name))
        for problem in problems:
            typer.echo(f"problem: {problem}")
        if pack is None or problems:
            broken = True
            continue
        typer.echo(
            f"{name}: sound ({pack.mode}, {pack.language}, asks for {', '.join(pack.asked)}; "
            f"sha256 {pack.digest()[:12]})"
        )
        for note in pack_notes(pack, labels):
            typer.echo(f"  note: {note}")
    if broken:
        raise typer.Exit(1)


app.command("try")(prompts_try.try_packs)
app.command("history")(prompts_try.history)
app.command("score")(prompts_score.score)
