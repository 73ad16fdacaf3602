"""The command line: collects the commands and turns what went wrong into one sentence and an exit code.

Exit codes: 0 done, 1 the work failed, 2 something the user gave is wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mghft.commands import (
    audit,
    compare,
    data,
    describe,
    doctor,
    eval,
    experiment,
    model,
    predict,
    probe,
    prompts,
    robustness,
    runs,
    runs_diff,
    serve,
    train,
    zero_shot,
)
from mghft.pipeline.text import one_line
from mghft.pipeline.waiting import watched
from mghft.shell import argument_list, called_command, furnish, option_words, value_error_sentence


class Commands(TyperGroup):
    """The group of all commands; the one place that catches errors meant for people."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; an error meant for people becomes one sentence and its exit code."""
        arguments = argument_list(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(
                "stopped: finished work is kept, the same command goes on from there (train: with --resume)",
                err=True,
            )
            raise typer.Exit(130) from None
        except Exception as error:
            if (sentence := value_error_sentence(error)) is not None:
                typer.echo(f"error: {sentence}", err=True)
                raise typer.Exit(2) from None
            code = exit_code(error)
            if code is None or os.environ.get("MGHFT_TRACEBACK"):
                raise
            typer.echo(f"error: {_in_words_of_options(error, self, arguments)}", err=True)
            raise typer.Exit(code) from None

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        furnish(self)


def _in_words_of_options(error: Exception, group: Any, arguments: list[str]) -> str:
    """Return what an error says; a field that was given by an option is called by the option's name."""
    field, reason = getattr(error, "field", None), getattr(error, "reason", None)
    if isinstance(field, str) and reason:
        # What is missing was given by nobody: the option that would is named.
        given = None if reason == "must be given" else arguments
        option = option_words(field, given, called_command(group, arguments)[0])
        if option is not None:
            return f"{option} {one_line(reason)}"
    return error_sentence(error)


def exit_code(error: Exception) -> int | None:
    """Return the code that an error for people ends the command with, None for every other error.

    Our own errors say so themselves (`exit_code`, see `pipeline.errors`): nothing is loaded to know them.
    """
    # Typer's exceptions have such an attribute too, and are Typer's business.
    own = getattr(error, "exit_code", None) if type(error).__module__.startswith("mghft.") else None
    if isinstance(own, int):
        return own
    # A closed pipe (mghft … | head) is nobody's mistake; Typer ends quietly on it.
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return None
    if isinstance(error, FloatingPointError):
        return 1
    return 2 if isinstance(error, ValueError | OSError) else None


def error_sentence(error: Exception) -> str:
    """Return what an error says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return one_line(error)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("describe")(describe.describe)
app.command("status")(runs.status)
app.command("failed")(runs.failed)
app.command("verify")(runs.verify)
app.command("preview")(runs.preview)
app.command("export")(runs.export)
app.command("train")(train.train)
app.command("eval")(eval.evaluate)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("compare")(compare.compare)
app.command("robustness")(robustness.robustness)
app.command("probe")(probe.probe)
app.command("audit")(audit.audit)
app.command("zero-shot")(zero_shot.zero_shot)
app.command("convert")(model.convert)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(prompts.app, name="prompts")
app.add_typer(experiment.app, name="experiment")
app.add_typer(model.app, name="model")
app.add_typer(runs_diff.app, name="runs")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"mghft {version('mghft')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Emotions of stickers and memes: multi-view descriptions by a multimodal LLM, fused into a vision model.

    \b
    Example, the main job from pictures to report:
      mghft data build emoji --out demo/data
      mghft describe emoji --data demo/data --out demo/descriptions
      mghft train emoji --data demo/data --descriptions demo/descriptions --recipe cpu --out demo/runs/text
      mghft eval demo/runs/text --out report

    Set MGHFT_TRACEBACK=1 to see where an error came from.
    """


def main() -> None:
    """Run the console script."""
    names = called_command(typer.main.get_command(app), sys.argv[1:])[1]
    with watched(names):
        app(prog_name="mghft")
