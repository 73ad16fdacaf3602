"""The command line: collects the commands and turns what went wrong into one sentence and an exit code.

Exit codes: 0 done, 1 the work failed, 2 something the user gave is wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mghft.commands import data, describe, doctor, eval, model, prompts, runs, train


class Commands(TyperGroup):
    """The group of all commands; the one place that catches errors meant for people."""

    def invoke(self, ctx: Any) -> Any:
        shown: Exception
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(
                "stopped: finished work is kept, the same command goes on from there (train: with --resume)",
                err=True,
            )
            raise typer.Exit(130) from None
        except FloatingPointError as error:
            shown, code = error, 1
        except RuntimeError as error:
            from mghft.pipeline.errors import EngineLost

            # By its name: whoever trains has it imported already, nobody else shall wait for torch.
            if not isinstance(error, EngineLost) and type(error).__name__ not in ("ProcessLost", "NotLearnt"):
                raise
            shown, code = error, 1
        except (ValueError, OSError) as error:
            # A closed pipe (mghft … | head) is nobody's mistake; Typer ends quietly on it.
            if getattr(error, "errno", None) == errno.EPIPE:
                raise
            shown, code = error, 2
        if os.environ.get("MGHFT_TRACEBACK"):
            raise shown
        typer.echo(f"error: {sentence(shown)}", err=True)
        raise typer.Exit(code)


def sentence(error: Exception) -> str:
    """What an error says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


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
app.command("convert")(model.convert)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(prompts.app, name="prompts")
app.add_typer(model.app, name="model")


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
    """Entry point of the console script."""
    app(prog_name="mghft")
