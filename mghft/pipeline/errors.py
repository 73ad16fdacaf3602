"""Errors that end a command with one sentence for people; `exit_code` is the code it ends with.

Whatever has this attribute is shown as a sentence by the command line, wherever it is defined. ValueError and
OSError are too, with the code 2: something the user gave is wrong. Everything else is a fault of ours.
"""

from __future__ import annotations


class EngineDiedError(RuntimeError):
    """The engine answers nothing any more: the run stops, what is finished is kept."""

    exit_code = 1


class WrongSettingsError(EngineDiedError):
    """The engine will answer nothing as it is asked: a key, a name or an address is wrong."""

    exit_code = 2


class NothingDescribedError(RuntimeError):
    """No sticker got a usable description: the work is done, or stopped, without a result."""

    exit_code = 1


class RunLockedError(ValueError):
    """Another process writes to the run folder."""

    exit_code = 2
