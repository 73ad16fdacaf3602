"""Prompt packs: readable YAML files with the words that a model is asked with.

The template is Jinja text rendered in a sandbox, since a pack may come from a stranger; the corpus' own text
goes in as a value and is never read as a template.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jinja2
import jinja2.sandbox
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.prompting.yaml_lines import MarkedYaml, read_marked_yaml
from mghft.pipeline.views import VIEWS

PACKS_FOLDER = Path(__file__).resolve().parents[2] / "prompts"
_environment = jinja2.sandbox.SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=False
)


class Sampling(BaseModel):
    """How the engine chooses tokens; temperature 0 is greedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(default=320, ge=1)
    seed: int = 0


class ViewPrompt(BaseModel):
    """What is asked for one view; in a file either the bare instruction, or a mapping with a length.

    Attributes:
        words: at most so many words (characters in Chinese); the template says it, nothing cuts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str = Field(min_length=1)
    words: int | None = Field(default=None, ge=1, le=1000)

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"instruction": given}
        if not isinstance(given, dict | ViewPrompt):
            raise ValueError("must be the instruction, a mapping of instruction and words, or null")
        return given

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        # A bare instruction stays bare: packs and runs of before there was a length keep their fingerprints.
        return self.instruction if self.words is None else handler(self)


class Example(BaseModel):
    """An answer as it should be: a sticker in words, and its views."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sticker: str = Field(min_length=1)
    views: dict[str, str]


class PromptPack(BaseModel):
    """One way to ask for the views.

    Attributes:
        about: what the pack is for, in one line; decides nothing and is no part of the digest.
        mode: "joint", one request with all views in one JSON answer, or "per-view", one request for each.
        system: system message, None for none.
        user: Jinja text; sees `sticker` (text, split), `views` (name, instruction, words), `examples`
            (sticker, views, answer) and, per view, `view`.
        views: what is asked by view, every view of `VIEWS` and nothing else; None: not asked, its column
            stays null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    about: str | None = Field(default=None, exclude=True)
    language: str = "en"
    mode: Literal["joint", "per-view"] = "joint"
    system: str | None = None
    user: str = Field(min_length=1)
    views: dict[str, ViewPrompt | None]
    examples: tuple[Example, ...] = ()
    sampling: Sampling = Sampling()

    @field_validator("views")
    @classmethod
    def _all_views(cls, views: dict[str, ViewPrompt | None]) -> dict[str, ViewPrompt | None]:
        if set(views) != set(VIEWS):
            raise ValueError(
                f"must hold exactly {', '.join(VIEWS)} (null for one that is not asked), "
                f"found {', '.join(views) or 'none'}"
            )
        if not any(views.values()):
            raise ValueError("every view is null: ask for one at least")
        return {view: views[view] for view in VIEWS}

    @field_validator("user")
    @classmethod
    def _is_template(cls, user: str) -> str:
        if (slip := _syntax_error(user)) is not None:
            raise ValueError(f"is no Jinja template: {slip.message} (line {slip.lineno} of the text)")
        return user

    @field_validator("examples")
    @classmethod
    def _examples_answer(cls, examples: tuple[Example, ...], info: Any) -> tuple[Example, ...]:
        asked = {view for view, prompt in info.data.get("views", {}).items() if prompt is not None}
        for number, example in enumerate(examples):
            if asked and set(example.views) != asked:
                raise ValueError(f"example {number} must answer exactly the views that are asked")
        return examples

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # As for bare instructions: what a pack does not use leaves its fingerprint alone.
        fields: dict[str, Any] = handler(self)
        if not self.examples:
            fields.pop("examples", None)
        return fields

    @property
    def asked(self) -> tuple[str, ...]:
        """The views that are asked for, in the order of `VIEWS`."""
        return tuple(view for view in VIEWS if self.views[view] is not None)

    def render(self, sticker: Sticker, view: str | None = None) -> str:
        """The user message for one sticker (and one view in the per-view mode).

        Raises:
            ValueError: the template uses a name that does not exist.
        """
        views = [
            {"name": name, "instruction": prompt.instruction, "words": prompt.words}
            for name, prompt in self.views.items()
            if prompt is not None
        ]
        chosen = next((item for item in views if item["name"] == view), None)
        facts = {"text": sticker.text, "split": sticker.split}
        examples = [
            {**example.model_dump(), "answer": json.dumps(example.views, ensure_ascii=False)}
            for example in self.examples
        ]
        try:
            template = _compiled(self.user)
            return template.render(sticker=facts, views=views, view=chosen, examples=examples).strip()
        except Exception as error:
            # Besides TemplateError, a template can raise what any Python expression can (1/0, "a" + 1).
            raise _RenderError(
                f"the prompt pack {self.name} cannot be rendered: {error}", str(error), _line_of(error)
            ) from None

    def messages(self, sticker: Sticker) -> list[tuple[str | None, str]]:
        """Every user message for one sticker with the view it asks for, None for all at once."""
        views: tuple[str | None, ...] = (None,) if self.mode == "joint" else self.asked
        return [(view, self.render(sticker, view)) for view in views]

    def digest(self) -> str:
        """SHA-256 of everything in the pack that decides what is asked."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class _RenderError(ValueError):
    """A template that cannot be rendered: the whole sentence, the reason alone, the line inside the text."""

    def __init__(self, sentence: str, reason: str, line: int) -> None:
        super().__init__(sentence)
        self.reason, self.line = reason, line


@lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    """Compiling takes longer than a small model takes to answer."""
    return _environment.from_string(template)


def _syntax_error(template: str) -> jinja2.TemplateSyntaxError | None:
    try:
        _environment.parse(template)
    except jinja2.TemplateSyntaxError as error:
        return error
    return None


def _line_of(error: Exception) -> int:
    """Line of the template in which an error arose; Jinja puts it into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == "<template>"), 1)


def pack_names() -> list[str]:
    """Names of the shipped packs, sorted."""
    return sorted(path.stem for path in PACKS_FOLDER.glob("*.yaml"))


def find_pack(name_or_path: str | Path) -> Path:
    """The file of a shipped pack by name or of any pack by path (it ends in `.yaml` or holds a slash).

    Raises:
        FileNotFoundError: there is no such pack.
    """
    text = str(name_or_path)
    named = not (text.endswith((".yaml", ".yml")) or "/" in text)
    path = PACKS_FOLDER / f"{text}.yaml" if named else Path(text)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no prompt pack '{text}': the shipped packs are {', '.join(pack_names())}; "
            "give one of these names or the path of a YAML file"
        )
    return path


def load_pack(name_or_path: str | Path) -> PromptPack:
    """Reads a pack by name or path and renders it once.

    Raises:
        FileNotFoundError: there is no such pack.
        ValueError: it is malformed; the message names file, field, line and reason.
    """
    pack, problems = read_pack(find_pack(name_or_path))
    if pack is None or problems:
        raise ValueError(problems[0])
    return pack


def read_pack(path: Path) -> tuple[PromptPack | None, list[str]]:
    """A pack, or None, and every problem of its file, one sentence each."""
    try:
        file = read_marked_yaml(path)
    except ValueError as error:
        return None, [f"the prompt pack {path} is no valid YAML: {error}"]
    problems = [_problem(path, f"'{name}'", line, "the key is duplicated") for name, line in file.twice()]
    try:
        pack = PromptPack.model_validate(file.data)
    except ValidationError as error:
        return None, problems + [_explain(path, file, slip) for slip in error.errors()]
    return pack, problems + _probe(path, file, pack)


def _explain(path: Path, file: MarkedYaml, slip: Any) -> str:
    place, reason = slip["loc"], str(slip["msg"]).removeprefix("Value error, ")
    line = file.line(place)
    if place == ("user",) and isinstance(slip["input"], str) and (error := _syntax_error(slip["input"])):
        reason, line = f"no Jinja template: {error.message}", file.line_in_text(place, error.lineno)
    where = ".".join(str(part) for part in place)
    return _problem(path, f"'{where}'" if where else "'the file'", line, reason)


def _probe(path: Path, file: MarkedYaml, pack: PromptPack) -> list[str]:
    """What a run would meet: stickers with a text and without, every view; and fields that nothing reads."""
    probes = [Sticker(id="probe", path="probe", split="train", text=text) for text in (None, "probe")]
    try:
        messages = [pack.messages(probe) for probe in probes]
    except _RenderError as error:
        line = file.line_in_text(("user",), error.line)
        return [_problem(path, "'user'", line, f"it cannot be rendered: {error.reason}")]
    problems = []
    bare = {
        view: prompt and ViewPrompt(instruction=prompt.instruction) for view, prompt in pack.views.items()
    }
    for field, changes, what in (
        ("views", {"views": bare}, "the lengths (words)"),
        ("examples", {"examples": ()}, "the examples"),
    ):
        changed = pack.model_copy(update=changes)
        try:
            unread = changed != pack and [changed.messages(probe) for probe in probes] == messages
        except _RenderError:
            continue
        if unread:
            reason = f"the text 'user' never uses {what}"
            problems.append(_problem(path, f"'{field}'", file.line((field,)), reason))
    return problems


def _problem(path: Path, field: str, line: int, reason: str) -> str:
    return f"the prompt pack {path} is malformed at {field} (line {line}): {reason}"
