"""Prompt packs: the words that a model is asked with, as data and rendered for a sticker.

The template is Jinja text rendered in a sandbox, since a pack may come from a stranger; the corpus' own text
goes in as a value and is never read as a template.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from functools import lru_cache
from typing import Any, Literal

import jinja2
import jinja2.sandbox
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.views import VIEWS

_environment = jinja2.sandbox.SandboxedEnvironment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=False
)


class Sampling(BaseModel):
    """The engine's way of choosing tokens; temperature 0 is greedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(default=320, ge=1)
    seed: int = 0


class ViewPrompt(BaseModel):
    """The question for one view; in a file either the bare instruction, or a mapping with a length.

    Attributes:
        words: at most so many words (characters in Chinese); the template says it, nothing cuts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str = Field(min_length=1)
    words: int | None = Field(default=None, ge=1, le=1000)

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"instruction": value}
        if not isinstance(value, dict | ViewPrompt):
            raise ValueError("must be the instruction, a mapping of instruction and words, or null")
        return value

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        # A bare instruction stays bare: packs and runs of before there was a length keep their fingerprints.
        return self.instruction if self.words is None else handler(self)


class Example(BaseModel):
    """A sticker in words, and its views as they should be."""

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
        if (slip := syntax_error(user)) is not None:
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
        """Return the views that are asked for, in the order of `VIEWS`."""
        return tuple(view for view in VIEWS if self.views[view] is not None)

    @property
    def shares_images(self) -> bool:
        """Return whether several requests are about one image."""
        return self.mode == "per-view"

    def render(self, sticker: Sticker, view: str | None = None) -> str:
        """Return the user message for one sticker (and one view in the per-view mode).

        Raises:
            RenderError: the template uses a name that does not exist, or fails otherwise.
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
            raise RenderError(
                f"the prompt pack {self.name} cannot be rendered: {error}", str(error), _line_of(error)
            ) from None

    def messages(self, sticker: Sticker) -> list[tuple[str | None, str]]:
        """Return every user message for one sticker with the view it asks for, None for all at once."""
        views: tuple[str | None, ...] = (None,) if self.mode == "joint" else self.asked
        return [(view, self.render(sticker, view)) for view in views]

    def digest(self) -> str:
        """Return the SHA-256 of everything in the pack that decides what is asked."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class RenderError(ValueError):
    """A template that cannot be rendered: the whole sentence, the reason alone, the line inside the text."""

    def __init__(self, sentence: str, reason: str, line: int) -> None:
        super().__init__(sentence)
        self.reason, self.line = reason, line


def syntax_error(template: str) -> jinja2.TemplateSyntaxError | None:
    """Return the error that keeps a text from being a template, None where it is one."""
    try:
        _environment.parse(template)
    except jinja2.TemplateSyntaxError as error:
        return error
    return None


@lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    """Compile a template once: it takes longer than a small model takes to answer."""
    return _environment.from_string(template)


def _line_of(error: Exception) -> int:
    """Return the line of the template in which an error arose; Jinja puts it into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename == "<template>"), 1)
