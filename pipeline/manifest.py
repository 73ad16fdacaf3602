"""A run's manifest (everything that decides its content), its comparison, and the lock of its folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import DescribeConfig
from pipeline.corpus import Corpus
from pipeline.journal import journal_paths
from pipeline.models import ModelSource
from pipeline.prompts import PromptPack
from pipeline.shards import shard_paths, write_atomically
from pipeline.views import VIEWS, views_schema

FILE = "manifest.json"


class RunLocked(ValueError):  # noqa: N818 - it is a state of the folder that ends in one sentence
    """Another process writes to the run folder."""


def build_manifest(
    config: DescribeConfig, corpus: Corpus, pack: PromptPack, source: ModelSource, engine: Mapping[str, Any]
) -> dict[str, Any]:
    """What decides the content of a run; which stickers are chosen does not: more of them is more work."""
    manifest = {
        "format": 1,
        "corpus": {"card": corpus.card.name, "sha256": corpus.fingerprint()},
        "model": {
            "name": source.name,
            "revision": source.revision,
            "weights_sha256": source.weights_sha256,
            "trust_remote_code": config.trust_remote_code,
        },
        "prompt": {"sha256": pack.digest(), **pack.model_dump(mode="json")},
        "views": list(VIEWS),
        "schema": views_schema(pack.asked),
        "image": config.image.model_dump(mode="json"),
        "engine": dict(engine),
        "attempts": config.attempts,
        "embed_images": config.embed_images,
    }
    return {"fingerprint": fingerprint(manifest), **manifest}


def asked_views(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The views that a run's prompt asks for; the columns of the others are null.

    Imported texts have no known prompt: they have all views.
    """
    asked = manifest["prompt"].get("views")
    return VIEWS if asked is None else tuple(view for view in VIEWS if asked.get(view) is not None)


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest, its own fingerprint left out."""
    facts = {key: value for key, value in manifest.items() if key != "fingerprint"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        FileNotFoundError: the folder or its manifest is not there.
        ValueError: it is damaged or was changed by hand.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"the folder {folder} is no run of `mghft describe`: it has no {FILE}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        intact = isinstance(manifest, dict) and manifest.get("fingerprint") == fingerprint(manifest)
    except (json.JSONDecodeError, UnicodeDecodeError):
        intact = False
    if not intact:
        raise ValueError(f"the manifest {path} is damaged or was changed: restore it, or give another --out")
    result: dict[str, Any] = manifest
    return result


def open_run(folder: Path, manifest: Mapping[str, Any], *, alone: bool = False) -> None:
    """Writes the manifest of a new run, or checks that the run in the folder is this very one.

    A manifest without a single row (the engine did not start) holds nobody up: it is replaced, provided that
    the lock keeps every other writer out (`alone`), who could be about to write rows under it.

    Raises:
        ValueError: the folder holds another run (every differing key is named), or shards of an unknown one.
    """
    if alone and not shard_paths(folder) and not journal_paths(folder):
        (folder / FILE).unlink(missing_ok=True)
    check_run(folder, manifest)
    if not (folder / FILE).exists():
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomically(folder / FILE, lambda file: file.write(text.encode()))


def check_run(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Checks that a folder holds no run or this very one; writes nothing.

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
    """Nested mappings as one, keys joined by dots."""
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


@contextlib.contextmanager
def lock_run(folder: Path, part: tuple[int, int] | None) -> Iterator[None]:
    """Holds the folder for one writer; processes with different parts (i/n) share it.

    The kernel's file lock dies with its owner, so nothing is left to clean up after a kill; pid and host are
    written into the file for the message alone.

    Raises:
        RunLocked: a live process holds it, or live processes share the work in another number of parts.
    """
    with contextlib.ExitStack() as stack:
        _hold(stack, folder / ".lock", shared=part is not None)
        if part is not None:
            _hold(stack, folder / f".lock-{part[0]}of{part[1]}", shared=False)
            for other in folder.glob(".lock-*of*"):
                # Shares of a third and of a quarter overlap: both would describe the same stickers.
                if not other.name.endswith(f"of{part[1]}"):
                    with contextlib.ExitStack() as probe:
                        _hold(probe, other, shared=False)
        yield


def _hold(stack: contextlib.ExitStack, path: Path, *, shared: bool) -> None:
    file = stack.enter_context(path.open("a+", encoding="utf-8"))
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(200).strip() or "another process"
        raise RunLocked(
            f"the run folder {path.parent} is in use by {owner}: wait for it, end it, or give another --out"
        ) from None
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
