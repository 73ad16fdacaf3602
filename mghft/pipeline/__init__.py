"""Stickers to descriptions: corpora, images, prompts, engines, the describe run and its folders.

The names are those of the rooms below.
"""

__all__: list[str] = []
