"""YAML files whose values remember their lines, so that an error can name the place; plain data only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mghft.pipeline.text import one_line

# Nobody writes so much by hand; a file that is larger is something else.
_LARGEST_BYTES = 1_000_000


@dataclass(frozen=True)
class MarkedYaml:
    """A file's data and the place of each value."""

    data: Any
    root: yaml.Node | None

    def line(self, place: Sequence[str | int]) -> int:
        """Return the line (from 1) of the key or entry at a place, or of the nearest one around it."""
        line = 1
        for mark, _ in self._way(place):
            line = mark.line + 1
        return line

    def line_in_text(self, place: Sequence[str | int], line: int) -> int:
        """Return the line of the file that holds a line (from 1) of a text value."""
        value = None
        for _, node in self._way(place):
            value = node
        if value is None:
            return 1
        # A block text begins below its key; the lines of folded and quoted texts are not kept apart.
        return int(value.start_mark.line) + 1 + (line if getattr(value, "style", None) == "|" else 0)

    def duplicated_keys(self) -> Iterator[tuple[str, int]]:
        """Yield keys that a mapping holds twice, of which YAML silently drops one, and the second's line."""
        yield from _duplicated(self.root, "", set())

    def _way(self, place: Sequence[str | int]) -> Iterator[tuple[Any, yaml.Node]]:
        node = self.root
        for step in place:
            if isinstance(node, yaml.MappingNode):
                entry = next(((key, value) for key, value in node.value if key.value == step), None)
                if entry is None:
                    return
                yield entry[0].start_mark, entry[1]
                node = entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                yield node.start_mark, node
            else:
                return


def read_marked_yaml(path: Path) -> MarkedYaml:
    """Read a file without building any object but text, numbers, lists and mappings.

    Raises:
        ValueError: it is no YAML in UTF-8; the reason in few words, with the line where it is known.
    """
    if path.stat().st_size > _LARGEST_BYTES:
        raise ValueError(f"it is larger than {_LARGEST_BYTES} bytes")
    try:
        loader = yaml.SafeLoader(path.read_bytes().decode("utf-8-sig"))
        try:
            root = loader.get_single_node()
            data = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f"line {mark.line + 1}: "
        raise ValueError(f"{place}{one_line(error.problem or error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(one_line(error)) from None
    return MarkedYaml(data, root)


def _duplicated(node: yaml.Node | None, above: str, visited: set[int]) -> Iterator[tuple[str, int]]:
    # An alias can lead back to where it stands, or to one mapping a million times.
    if not isinstance(node, yaml.MappingNode) or id(node) in visited:
        return
    visited.add(id(node))
    seen = set()
    for key, value in node.value:
        name = f"{above}{key.value}"
        if name in seen:
            yield name, key.start_mark.line + 1
        seen.add(name)
        yield from _duplicated(value, f"{name}.", visited)
