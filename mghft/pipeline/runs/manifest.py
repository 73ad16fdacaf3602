"""A run's manifest: everything that decides its content; how it is read, compared and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from mghft.pipeline.files import write_json
from mghft.pipeline.runs.journal import journal_paths
from mghft.pipeline.runs.shards import shard_paths
from mghft.pipeline.views import VIEWS

FILE = "manifest.json"


class CorpusSection(TypedDict):
    """The corpus: its card's name, and a hash of what the card says."""

    card: str
    sha256: str


class ModelSection(TypedDict):
    """The model: a commit identifies one of the hub, a hash of its files a local one, nothing a server's."""

    name: str
    revision: str | None
    weights_sha256: str | None
    trust_remote_code: bool


class EngineSection(TypedDict):
    """The engine; besides these whatever of its settings changes texts. A server's version is unknown."""

    name: str
    version: str | None


class Manifest(TypedDict):
    """Everything that decides the content of a run.

    Attributes:
        prompt: the fields of the prompt pack and its hash; for imported texts name and language alone.
        schema: JSON schema of a response.
        image: fields of the `ImageTransform`.
        attempts: how often a sticker is asked at most.
        imported: where imported texts came from.
    """

    fingerprint: str
    format: int
    corpus: CorpusSection
    model: ModelSection
    prompt: dict[str, Any]
    views: list[str]
    schema: dict[str, Any]
    image: dict[str, Any]
    engine: EngineSection
    attempts: int
    embed_images: bool
    imported: NotRequired[dict[str, Any]]


def asked_views(manifest: Manifest) -> tuple[str, ...]:
    """Return the views that a run's prompt asks for; the columns of the others are null.

    Imported texts have no known prompt: they have all views.
    """
    asked = manifest["prompt"].get("views")
    return VIEWS if asked is None else tuple(view for view in VIEWS if asked.get(view) is not None)


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest, its own fingerprint left out."""
    facts = {key: value for key, value in manifest.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a run folder.

    Raises:
        FileNotFoundError: the folder or its manifest does not exist.
        ValueError: it is damaged or was changed by hand.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the folder {folder} is not a run folder of `mghft describe`: it has no {FILE}"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        intact = isinstance(manifest, dict) and manifest.get("fingerprint") == fingerprint(manifest)
    except (json.JSONDecodeError, UnicodeDecodeError):
        intact = False
    if not intact:
        raise ValueError(f"the manifest {path} is damaged or was changed: restore it, or give another --out")
    return cast(Manifest, manifest)


def runs_in(folder: Path) -> list[Path]:
    """List the run folders in a folder: itself, or those one or two levels below it, sorted."""
    if (folder / FILE).is_file():
        return [folder]
    return sorted(path.parent for pattern in (f"*/{FILE}", f"*/*/{FILE}") for path in folder.glob(pattern))


def begun_with(folders: Iterable[Path], engine: str) -> EngineSection | None:
    """Return what is written about this engine in the first folder with a run of it, the last one there.

    Args:
        folders: as for `runs_in`; what is absent or damaged is passed over.
        engine: name.
    """
    for folder in folders:
        for run in reversed(runs_in(folder)):
            with suppress(FileNotFoundError, ValueError):
                section = read_manifest(run)["engine"]
                if section["name"] == engine:
                    return section
    return None


def open_run(folder: Path, manifest: Mapping[str, Any], *, alone: bool = False) -> None:
    """Write the manifest of a new run, or check that the run in the folder is this very one.

    A manifest without a single row (the engine did not start) holds nobody up: it is replaced, provided that
    the lock keeps every other writer out (`alone`), who could be about to write rows under it.

    Raises:
        ValueError: the folder holds another run (every differing key is named), or shards of an unknown one.
    """
    if alone and not shard_paths(folder) and not journal_paths(folder):
        (folder / FILE).unlink(missing_ok=True)
    check_run(folder, manifest)
    if not (folder / FILE).exists():
        write_json(folder / FILE, manifest)


def check_run(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Check that a folder holds no run or this very one; write nothing.

    Raises:
        ValueError: as in `open_run`.
    """
    if not (folder / FILE).exists():
        if shard_paths(folder):
            raise ValueError(
                f"the folder {folder} holds description shards but no {FILE}: give another with --out"
            )
        return
    existing = read_manifest(folder)
    if existing["fingerprint"] == manifest["fingerprint"]:
        return
    old, new = flatten(existing), flatten(manifest)
    different = [
        f"{key} is {_short(old.get(key))} there and {_short(new.get(key))} here"
        for key in sorted(old.keys() | new.keys())
        if key != "fingerprint" and old.get(key) != new.get(key)
    ]
    raise ValueError(
        f"the folder {folder} holds a run of another configuration ({'; '.join(different)}): "
        "give another folder with --out, or the old settings"
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
