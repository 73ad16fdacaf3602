"""The command line's own ways: help in sections, options of every command, slips in the words of options.

Typer makes the commands; what they have in common is added here, once, to all of them.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from types import MethodType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

# By the field of a configuration: the options that fill it, in any command.
FLAGS_OF_FIELDS: dict[str, tuple[str, ...]] = {}
# Of options that say nothing else.
_GENERAL = "Options"
# Fewer options than this are one list.
_SECTIONS_FROM = 13
_NUMBER = re.compile(r"Input should be (?:a|an) valid (\w+).*")
_CHOICE = re.compile(r"'(.*)' is not one of (.*)")
_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}


def furnish(command: Any) -> None:
    """Give a command, or all commands of a group, `--quiet` and help in sections."""
    inner = getattr(command, "commands", None)
    if inner is not None:
        for one in inner.values():
            furnish(one)
        return
    if isinstance(command, TyperCommand) and not any(one.name == "be_quiet" for one in command.params):
        command.params.append(_quiet_option())
        command.format_options = MethodType(_format_options, command)  # type: ignore[method-assign]


@lru_cache(1)
def _quiet_option() -> TyperOption:
    """Return the option, made by Typer itself: its constructors are no public interface."""
    template = typer.Typer(add_completion=False)

    @template.command()
    def _template(
        be_quiet: Annotated[
            bool,
            typer.Option(
                "--quiet", "-q", help="No progress: results, notes and errors alone.", callback=_be_quiet
            ),
        ] = False,
    ) -> None: ...

    (found,) = (one for one in typer.main.get_command(template).params if one.name == "be_quiet")
    assert isinstance(found, TyperOption)
    found.expose_value = False
    return found


def _be_quiet(wanted: bool) -> bool:
    if wanted:
        from mghft.pipeline.waiting import be_quiet

        be_quiet()
    return wanted


def _format_options(command: TyperCommand, context: Any, formatter: Any) -> None:
    """Write arguments, then options by the section that each names (Typer's `rich_help_panel`)."""
    arguments: list[tuple[str, str]] = []
    sections: dict[str, list[tuple[str, str]]] = {_GENERAL: []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            arguments.append(record)
        else:
            sections.setdefault(getattr(parameter, "rich_help_panel", None) or _GENERAL, []).append(record)
    if sum(map(len, sections.values())) < _SECTIONS_FROM:
        sections = {_GENERAL: [record for records in sections.values() for record in records]}
    for title, records in [("Arguments", arguments), *sections.items()]:
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def value_error_sentence(error: Any) -> str | None:
    """Return what is wrong with an option's value, in one sentence; None for an error of another kind."""
    parameter, message = getattr(error, "param", None), getattr(error, "message", None)
    if parameter is None or not isinstance(message, str) or not getattr(parameter, "opts", None):
        return None
    name = max(parameter.opts, key=len)
    message = message.removeprefix("Value error, ").rstrip(".")
    if found := _NUMBER.match(message):
        return f"{name}: give {_KINDS.get(found[1], f'a {found[1]}')}"
    if found := _CHOICE.match(message):
        from mghft.pipeline.text import near

        known = found[2].replace("'", "").split(", ")
        return f"{name} is '{found[1]}'{near(found[1], known)}: choose one of {', '.join(known)}"
    return f"{name}: {message.replace('Input should be', 'give')}" if message else None


def option_words(field: str, arguments: list[str] | None, command: Any) -> str | None:
    """Return the option by which a field was given on the command line; None where it was not.

    Args:
        field: dotted name in the configuration.
        arguments: of the command line; None for the option by which it can be given.
        command: the command that was called.
    """
    wanted = set(FLAGS_OF_FIELDS.get(field, ()))
    last = field.rpartition(".")[2]
    for parameter in getattr(command, "params", ()):
        if parameter.name == field or (parameter.name == last and not wanted):
            wanted |= set(parameter.opts)
    if arguments is None:
        taken = {flag for one in getattr(command, "params", ()) for flag in one.opts if flag.startswith("--")}
        return next(iter(sorted(wanted & taken)), None)
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("-")}
    return next((flag for flag in sorted(wanted, key=len, reverse=True) if flag in given), None)


def called_command(group: Any, arguments: list[str]) -> tuple[Any, str]:
    """Return the command that arguments call, and its name with those of its groups."""
    command, names = group, list[str]()
    for argument in arguments:
        inner = getattr(command, "commands", {}).get(argument)
        if inner is None:
            break
        command, names = inner, [*names, argument]
    return command, " ".join(names)


def check_not_folder(context: typer.Context, card: str | None) -> str | None:
    """Return a card's name; a folder of pictures in its place ends in a sentence with the way out.

    Raises:
        ValueError: it is a folder.
    """
    from pathlib import Path

    if card is not None and not context.resilient_parsing and Path(card).is_dir():
        raise ValueError(
            f"{card} is a folder, and a data card goes here: for the pictures of a folder give "
            f"`{context.command_path} folder --data {card}` (docs/datasets.md)"
        )
    return card


def argument_list(context: Any) -> list[str]:
    """Return the arguments that a group is called with."""
    return [*getattr(context, "_protected_args", []), *context.args] or sys.argv[1:]
