"""Models: where one lies and what identifies it, found before anything heavy starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = "*.safetensors"
_HASHED = (WEIGHTS, "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


@dataclass(frozen=True)
class ModelSource:
    """A model found before anything heavy starts.

    Attributes:
        name: what the manifest calls it.
        location: folder or hub id for the engine.
        revision: commit of a hub model.
        weights_sha256: over weights, configuration, tokenizer and template of a local folder.
    """

    name: str
    location: str
    revision: str | None = None
    weights_sha256: str | None = None


def find_model(model: str, revision: str | None = None) -> ModelSource:
    """Finds the model and what identifies it.

    Raises:
        FileNotFoundError: no such folder, a folder without weights, or a hub id that cannot be reached.
    """
    if model == "interpreter":
        from mghft.pipeline.tiny_llava import checkpoint_path

        folder = checkpoint_path()
        return ModelSource("interpreter", str(folder), None, hash_folder(folder))
    folder = Path(model)
    if folder.is_dir():
        if (missing := missing_file(folder)) is not None:
            raise FileNotFoundError(
                f"the model folder {folder} has no {missing}: give a complete checkpoint in safetensors"
            )
        return ModelSource(folder.resolve().name, str(folder), None, hash_folder(folder))
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"the model folder {model} does not exist (and it is no hub id like owner/name)"
        )
    return ModelSource(model, model, _hub_commit(model, revision))


def hash_folder(folder: Path) -> str:
    """SHA-256 over the files that decide a model's answers, by name and content."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _HASHED for path in folder.glob(pattern)}):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hub_commit(model: str, revision: str | None) -> str:
    """The commit of a hub model: from the local cache when it is complete there, else from the hub."""
    import huggingface_hub

    lacking = ""
    try:
        cached = Path(
            huggingface_hub.snapshot_download(
                model, revision=revision, local_files_only=True, allow_patterns=["config.json"]
            )
        )
    except Exception:
        # Not cached at all: the hub is asked. Any failure there has one meaning for the user, said below.
        pass
    else:
        missing = missing_file(cached)
        if missing is None:
            return cached.name
        lacking = f" without {missing}"
    try:
        commit = huggingface_hub.HfApi().model_info(model, revision=revision).sha
    except Exception as error:
        state = f"cached here{lacking}, and the hub is not" if lacking else "neither cached here nor"
        raise FileNotFoundError(
            f"the model {model} is {state} reachable ({type(error).__name__}): "
            f"on a machine with network run `hf download {model}`, or give a local folder"
        ) from None
    if commit is None:
        raise FileNotFoundError(f"the hub names no commit for the model {model}") from None
    return commit


def missing_file(folder: Path) -> str | None:
    """The first file that a checkpoint in safetensors lacks, None when it is complete."""
    if not (folder / "config.json").is_file():
        return "config.json"
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return "a readable model.safetensors.index.json"
    elif any(folder.glob(WEIGHTS)):
        return None
    return next((name for name in sorted(names) if not (folder / name).is_file()), None)
