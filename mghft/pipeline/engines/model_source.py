"""The model of a run: its place and what identifies it, found before anything heavy starts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from mghft.pipeline.waiting import now_doing

WEIGHTS = "*.safetensors"
# The documented name of the shipped stand-in.
TINY_LLAVA = "tiny-llava"
# The name that it has in manifests, and had on the command line. Runs are told apart by their manifest's
# hash, so with another name every run made before would be a run of another model.
TINY_LLAVA_IN_MANIFESTS = "interpreter"
_HASHED = (WEIGHTS, "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


@dataclass(frozen=True)
class ModelSource:
    """A model that an engine can be started with.

    Attributes:
        name: its name in the manifest.
        location: folder or hub id for the engine.
        revision: commit of a hub model.
        weights_sha256: over weights, configuration, tokenizer and template of a local folder.
        trust_remote_code: whether code that comes with the model is run.
    """

    name: str
    location: str
    revision: str | None = None
    weights_sha256: str | None = None
    trust_remote_code: bool = False


def find_model(model: str, revision: str | None = None, *, trust_remote_code: bool = False) -> ModelSource:
    """Find a model and what identifies it; the weights of a local one are hashed.

    Args:
        model: "tiny-llava", the shipped stand-in; a folder; or a hub id.
        revision: of a hub model.
        trust_remote_code: kept for whoever starts the model.

    Raises:
        FileNotFoundError: no such folder, a folder without weights, or a hub id that cannot be reached.
    """
    if model in (TINY_LLAVA, TINY_LLAVA_IN_MANIFESTS):
        from mghft.pipeline.tiny_llava import checkpoint_path

        folder = checkpoint_path()
        name, location, commit = TINY_LLAVA_IN_MANIFESTS, str(folder), None
        return ModelSource(name, location, commit, hash_folder(folder), trust_remote_code)
    now_doing(f"looking for the model {model}")
    folder = Path(model)
    if folder.is_dir():
        if (missing := missing_file(folder)) is not None:
            raise FileNotFoundError(
                f"the model folder {folder} has no {missing}: give a complete checkpoint in safetensors"
            )
        return ModelSource(folder.resolve().name, str(folder), None, hash_folder(folder), trust_remote_code)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"the model folder {model} does not exist (and it is no hub id like owner/name)"
        )
    return ModelSource(model, model, _hub_commit(model, revision), None, trust_remote_code)


def hash_folder(folder: Path) -> str:
    """Return the SHA-256 over the files that decide what a model writes, by name and content."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _HASHED for path in folder.glob(pattern)}):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hub_commit(model: str, revision: str | None) -> str:
    """Return the commit of a hub model: from the local cache if it is complete there, else from the hub."""
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
    """Return the first file that a checkpoint in safetensors lacks, None when it is complete."""
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
