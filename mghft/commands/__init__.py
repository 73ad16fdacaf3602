"""The commands, one thin module per group; every heavy import is inside a function."""

__all__: list[str] = []
