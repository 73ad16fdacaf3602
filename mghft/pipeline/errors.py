"""Errors that end a command with a sentence for people, each with the exit code it ends with."""

from __future__ import annotations


class RunLocked(ValueError):  # noqa: N818 - it is a state of the folder that ends in one sentence
    """Another process writes to the run folder."""


class EngineLost(RuntimeError):  # noqa: N818 - a state that ends in one sentence
    """The engine answers nothing any more: the run stops, what is finished is kept."""
