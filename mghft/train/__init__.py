"""Descriptions to a model: data, trainer, evaluation, probing.

The names are those of the rooms below; nothing heavy is loaded before one of them is used.
"""

__all__: list[str] = []
