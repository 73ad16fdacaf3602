"""Prompt packs as files: found by name or path, read, and checked; what is wrong is said with its line."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.prompting.pack import PromptPack, RenderError, ViewPrompt, syntax_error
from mghft.pipeline.prompting.yaml_lines import MarkedYaml, read_marked_yaml
from mghft.pipeline.settings import fault_words
from mghft.pipeline.text import near

PACKS_FOLDER = Path(__file__).resolve().parents[2] / "prompts"


def pack_names() -> list[str]:
    """List the names of the shipped packs, sorted."""
    return sorted(path.stem for path in PACKS_FOLDER.glob("*.yaml"))


def find_pack(name_or_path: str | Path) -> Path:
    """Return the file of a shipped pack by name or of any by path (it ends in `.yaml` or holds a slash).

    Raises:
        FileNotFoundError: there is no such pack.
    """
    text = str(name_or_path)
    named = not (text.endswith((".yaml", ".yml")) or "/" in text)
    path = PACKS_FOLDER / f"{text}.yaml" if named else Path(text)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no prompt pack '{text}'{near(text, pack_names())}: the shipped packs are "
            f"{', '.join(pack_names())}; give one of these names or the path of a YAML file"
        )
    return path


def load_pack(name_or_path: str | Path) -> PromptPack:
    """Read a pack by name or path and render it once.

    Raises:
        FileNotFoundError: there is no such pack.
        ValueError: it is malformed; the message names file, field, line and reason.
    """
    pack, problems = read_pack(find_pack(name_or_path))
    if pack is None or problems:
        raise ValueError(problems[0])
    return pack


def read_pack(path: Path) -> tuple[PromptPack | None, list[str]]:
    """Read a pack, None where that cannot be; and every problem of its file, one sentence each."""
    try:
        file = read_marked_yaml(path)
    except ValueError as error:
        return None, [f"the prompt pack {path} is no valid YAML: {error}"]
    problems = [
        _problem(path, f"'{name}'", line, "the key is duplicated") for name, line in file.duplicated_keys()
    ]
    try:
        pack = PromptPack.model_validate(file.data)
    except ValidationError as error:
        return None, problems + [_explain(path, file, slip) for slip in error.errors()]
    return pack, problems + _probe(path, file, pack)


def _explain(path: Path, file: MarkedYaml, slip: ErrorDetails) -> str:
    place, reason = slip["loc"], fault_words(slip)
    line = file.line(place)
    if place == ("user",) and isinstance(slip["input"], str) and (error := syntax_error(slip["input"])):
        reason, line = f"no Jinja template: {error.message}", file.line_in_text(place, error.lineno)
    where = ".".join(str(part) for part in place)
    return _problem(path, f"'{where}'" if where else "'the file'", line, reason)


def _probe(path: Path, file: MarkedYaml, pack: PromptPack) -> list[str]:
    """Render as a run would, with a text and without, every view; say what fails, and what nothing reads."""
    probes = [Sticker(id="probe", path="probe", split="train", text=text) for text in (None, "probe")]
    try:
        messages = [pack.messages(probe) for probe in probes]
    except RenderError as error:
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
        except RenderError:
            continue
        if unread:
            reason = f"the text 'user' never uses {what}"
            problems.append(_problem(path, f"'{field}'", file.line((field,)), reason))
    return problems


def _problem(path: Path, field: str, line: int, reason: str) -> str:
    return f"the prompt pack {path} is malformed at {field} (line {line}): {reason}"
