"""One way to a configuration, for every command: a YAML file, options, `--set`, one over the other.

A layer is a mapping of fields to values; a dot in a name reaches inside ("image.max_side"). A field that a
layer does not name is not given; None is the value null like any other, so an option that was left out must
not be in its layer (`given`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from mghft.pipeline.text import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
# Words for pydantic's limits and types; the longer names first where one begins like another.
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {
    "int_from_float": "a whole number",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
}
_SHOWN = 40


class SettingsError(ValueError):
    """A field of a configuration is wrong, missing or unknown.

    Attributes:
        field: its dotted name.
        reason: what is wrong with it, without the name.
    """

    exit_code = 2

    def __init__(self, sentence: str, field: str, reason: str) -> None:
        super().__init__(sentence)
        self.field, self.reason = field, reason


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: those that are neither None nor an empty list."""
    return {name: value for name, value in options.items() if value is not None and value != []}


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of fields; an empty one gives none.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is no YAML mapping in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the configuration file {path} does not exist")
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"the configuration {path} is no valid YAML: {' '.join(str(error).split())}"
        ) from None
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise ValueError(f"the configuration {path} is no mapping of fields to values")
    return fields


def parse_assignments(entries: Sequence[str]) -> dict[str, Any]:
    """Read fields from `--set KEY=VALUE`; the value is YAML: `null`, `[1, 2]` and `true` are what they say.

    Raises:
        ValueError: an entry has no '=' or its value is no YAML.
    """
    parsed = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        if not sign or not name.strip():
            raise ValueError(f"--set {entry!r} is not KEY=VALUE, as in --set seed=1")
        try:
            parsed[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"the value of --set {entry!r} is no YAML: quote it") from None
    return parsed


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other: the later wins, nested ones are merged, dotted names reach inside."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            head, _, rest = str(name).partition(".")
            if rest:
                value = merge({rest: value})
            old = merged.get(head)
            both = isinstance(value, Mapping) and isinstance(old, Mapping)
            merged[head] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def build(model: type[Model], *layers: Mapping[str, Any], what: str) -> Model:
    """Validate layers of fields as a configuration.

    Args:
        model: the configuration's class.
        layers: from the weakest to the strongest.
        what: how messages call the configuration ("the training configuration").

    Raises:
        ValueError: a field is unknown, missing or wrong; one sentence that names it.
    """
    try:
        return model.model_validate(merge(*layers))
    except ValidationError as error:
        raise SettingsError(first_fault(error, what, model), *_place_and_reason(error, model)) from None


def first_fault(error: ValidationError, what: str, model: type[BaseModel] | None = None) -> str:
    """Return the first of pydantic's findings as one sentence; of an unknown field the nearest known ones."""
    first = error.errors()[0]
    place, reason = _place_and_reason(error, model)
    if first["type"] == "extra_forbidden":
        return f"{what} has no field '{place}'{reason}"
    if first["type"] == "missing":
        return f"{what} lacks the field '{place}'"
    return f"{what} is wrong at {place}: {reason}" if place else f"{what}: {reason}"


def _place_and_reason(error: ValidationError, model: type[BaseModel] | None) -> tuple[str, str]:
    """Return the dotted name of the first field that is wrong, and why, in words for people."""
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return place, did_you_mean(str(first["loc"][-1]), _fields_beside(model, first["loc"][:-1]), listed=0)
    return place, fault_words(first)


def fault_words(fault: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, of one of `ValidationError.errors()`, as a person would say it.

    pydantic's own words speak of inputs and of Python's types.
    """
    kind, limits, value = fault["type"], fault.get("ctx") or {}, fault.get("input")
    if kind == "missing":
        return "must be given"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(limits.get("expected", "")))
        near = did_you_mean(value, known, listed=0) if isinstance(value, str) else ""
        return f"must be {_choices(known)}, not {_shown(value)}{near}"
    for name, words in _LIMITS.items():
        if name in limits and kind != "value_error":
            return f"must be {words} {limits[name]}, not {_shown(value)}"
    if kind in ("too_short", "string_too_short"):
        return (
            f"must have at least {limits['min_length']} entries"
            if kind == "too_short"
            else "must not be empty"
        )
    for start, words in _KINDS.items():
        if kind.startswith(start):
            return f"must be {words}, not {_shown(value)}"
    return str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _choices(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _fields_beside(model: type[BaseModel] | None, way: Sequence[str | int]) -> list[str]:
    """Return the field names of the model at the end of a way through nested models.

    A model may take fields of inner ones at its own level: it names them in `SHORT_NAMES`.
    """
    for step in way:
        field = None if model is None else model.model_fields.get(str(step))
        inner = None if field is None else field.annotation
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return [] if model is None else [*model.model_fields, *getattr(model, "SHORT_NAMES", ())]


def describe_fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield a line for every field: name, what it is, default; fields of a field by their dotted names."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from describe_fields(field.annotation, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        if default is PydanticUndefined:
            ending = "required"
        else:  # as one would write it behind --set
            ending = f"default {default if isinstance(default, str) else json.dumps(default)}"
        yield f"{prefix}{name}: {field.description} ({ending})"


def field_at(content: Any, name: str) -> Any:
    """Return the value below a dotted name; None where there is none."""
    for key in name.split("."):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def differing_fields(first: Any, second: Any, name: str = "") -> list[str]:
    """Return the dotted names of the values that differ between two nested mappings, in order.

    A value that is a mapping on one side alone is one field.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        names: list[str] = []
        for key in sorted(first.keys() | second.keys()):
            names += differing_fields(first.get(key), second.get(key), f"{name}.{key}" if name else key)
        return names
    return [] if first == second else [name]
