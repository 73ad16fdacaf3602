"""Prompt packs: readable YAML files with the words that a model is asked with.

The template is Jinja text rendered in a sandbox, since a pack may come from a stranger; the corpus' own text
goes in as a value and is never read as a template.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jinja2
import jinja2.sandbox
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.corpus import Sticker
from pipeline.views import VIEWS

PACKS_FOLDER = Path(__file__).resolve().parent.parent / "prompts"
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


class PromptPack(BaseModel):
    """One way to ask for the views.

    Attributes:
        mode: "joint", one request with all views in one JSON answer, or "per-view", one request for each.
        system: system message, None for none.
        user: Jinja text; sees `sticker`, `views` (name and instruction) and, per view, `view`.
        views: instruction by view; every view of `VIEWS`, nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    language: str = "en"
    mode: Literal["joint", "per-view"] = "joint"
    system: str | None = None
    user: str = Field(min_length=1)
    views: dict[str, str]
    sampling: Sampling = Sampling()

    @field_validator("views")
    @classmethod
    def _all_views(cls, views: dict[str, str]) -> dict[str, str]:
        if set(views) != set(VIEWS):
            raise ValueError(f"must hold exactly {', '.join(VIEWS)}, found {', '.join(views) or 'none'}")
        return {view: views[view] for view in VIEWS}

    @field_validator("user")
    @classmethod
    def _is_template(cls, user: str) -> str:
        try:
            _environment.parse(user)
        except jinja2.TemplateSyntaxError as error:
            raise ValueError(
                f"is no Jinja template: {error.message} (line {error.lineno} of the text)"
            ) from None
        return user

    def render(self, sticker: Sticker, view: str | None = None) -> str:
        """The user message for one sticker (and one view in the per-view mode).

        Raises:
            ValueError: the template uses a name that is not there.
        """
        views = [{"name": name, "instruction": text} for name, text in self.views.items()]
        chosen = next((item for item in views if item["name"] == view), None)
        facts = {"text": sticker.text, "split": sticker.split}
        try:
            return _compiled(self.user).render(sticker=facts, views=views, view=chosen).strip()
        except Exception as error:
            # Besides TemplateError, a template can raise what any Python expression can (1/0, "a" + 1).
            raise ValueError(f"the prompt pack {self.name} cannot be rendered: {error}") from None

    def digest(self) -> str:
        """SHA-256 of everything in the pack."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@lru_cache(maxsize=64)
def _compiled(template: str) -> jinja2.Template:
    """Compiling takes longer than a small model takes to answer."""
    return _environment.from_string(template)


def pack_names() -> list[str]:
    """Names of the shipped packs, sorted."""
    return sorted(path.stem for path in PACKS_FOLDER.glob("*.yaml"))


def load_pack(name_or_path: str | Path) -> PromptPack:
    """Reads a shipped pack by name or any pack by path (a path ends in `.yaml` or holds a slash).

    Raises:
        FileNotFoundError: there is no such pack.
        ValueError: it is malformed; the message names file, field and reason.
    """
    text = str(name_or_path)
    named = not (text.endswith((".yaml", ".yml")) or "/" in text)
    path = PACKS_FOLDER / f"{text}.yaml" if named else Path(text)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no prompt pack '{text}': the shipped packs are {', '.join(pack_names())}; "
            "give one of these names or the path of a YAML file"
        )
    try:
        fields: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the prompt pack {path} is no valid YAML: {' '.join(str(error).split())}") from None
    try:
        pack = PromptPack.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"the prompt pack {path} is malformed at '{where}': {first['msg']}") from None
    # Both branches of a template that asks for the sticker's text, before a run meets them.
    for sticker_text in (None, "probe"):
        probe = Sticker(id="probe", path="probe", split="train", text=sticker_text)
        for view in (None,) if pack.mode == "joint" else VIEWS:
            pack.render(probe, view)
    return pack
