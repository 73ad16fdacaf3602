"""Rows of earlier runs taken over into a new one: what was asked and answered before is not asked again.

A row is taken when everything that decides it is the same: model, prompt as rendered for the sticker,
sampling, image transform, engine, and the bytes of the image. Label and split are those of the corpus today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.journal import journal_paths, read_journal
from mghft.pipeline.runs.manifest import FILE, flatten, read_manifest
from mghft.pipeline.runs.rows import Row, start_row
from mghft.pipeline.runs.shards import FINGERPRINT_KEY, SCHEMA, read_shard, shard_paths
from mghft.pipeline.views import VIEWS

_TAKEN = (*VIEWS, "status", "error", "finish_reason", "prompt_tokens", "output_tokens", "raw")
_KEYS_NAMED = 4


def find_runs(folder: Path) -> list[Path]:
    """Run folders in a folder: itself, or those one or two levels below it (a tries folder), sorted.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: no run is in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder {folder} does not exist: give one of `mghft describe` or `prompts try`"
        )
    if (folder / FILE).is_file():
        return [folder]
    found = sorted(path.parent for pattern in (f"*/{FILE}", f"*/*/{FILE}") for path in folder.glob(pattern))
    if not found:
        raise ValueError(f"the folder {folder} holds no run with a {FILE}, so there is nothing to reuse")
    return found


def row_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What of a manifest decides a row that is ok, flat."""
    facts = {
        key: value
        for key, value in manifest.items()
        if key not in ("fingerprint", "corpus", "attempts", "embed_images")
    }
    if manifest["model"]["weights_sha256"]:
        # The hash says which model it is; the same folder may have been called otherwise.
        facts["model"] = {key: value for key, value in manifest["model"].items() if key != "name"}
    return flatten(facts)


def matching_runs(
    folders: Sequence[Path], manifest: Mapping[str, Any], out: Path
) -> tuple[list[tuple[Path, str]], list[str]]:
    """Runs whose rows fit a new run's manifest.

    Args:
        folders: runs, or folders of runs.
        manifest: of the new run.
        out: its folder, which is none of its own sources.

    Returns:
        Folders with their fingerprints, and a sentence for every folder given that has none.

    Raises:
        FileNotFoundError, ValueError: as in `find_runs`.
    """
    wanted = row_facts(manifest)
    runs: list[tuple[Path, str]] = []
    notes: list[str] = []
    for folder in folders:
        nearest: tuple[int, str] | None = None
        before = len(runs)
        for run in find_runs(folder):
            if run.resolve() == out.resolve():
                continue
            try:
                found = read_manifest(run)
                facts = row_facts(found)
            except (ValueError, LookupError, TypeError) as error:
                notes.append(f"nothing is reused from {run}: {error}")
                continue
            different = sorted(k for k in facts.keys() | wanted.keys() if facts.get(k) != wanted.get(k))
            if found["attempts"] > manifest["attempts"]:
                # An answer to a later attempt is one that the new run would not have asked for.
                different.append("attempts")
            if not different:
                runs.append((run, str(found["fingerprint"])))
            elif nearest is None or len(different) < nearest[0]:
                named = ", ".join(different[:_KEYS_NAMED])
                more = f" and {len(different) - _KEYS_NAMED} more" if len(different) > _KEYS_NAMED else ""
                nearest = (len(different), f"nothing is reused from {run}: it differs in {named}{more}")
        if len(runs) == before and nearest is not None:
            notes.append(nearest[1])
    return runs, notes


def reused_rows(
    runs: Sequence[tuple[Path, str]],
    stickers: Sequence[Sticker],
    pack: PromptPack,
    root: Path,
    *,
    embed: bool = False,
) -> Iterator[Row]:
    """New rows for stickers that were described before, each sticker once at most.

    Only images of stickers that have a good row somewhere are read; one run's shard is in memory at a time.

    Args:
        runs: from `matching_runs`.
        stickers: still to be described.
        pack: asked with.
        root: of the corpus.
        embed: whether the rows carry the image's bytes.
    """
    left = {sticker.id: sticker for sticker in stickers}
    for run, fingerprint in runs:
        for old in _good_rows(run, fingerprint):
            sticker = left.get(old["sticker_id"])
            if sticker is None or not _says_the_same(old, sticker, pack):
                continue
            try:
                content = read_image(root, sticker.path)
            except ImageError:
                continue
            if hashlib.sha256(content).hexdigest() != old["image_sha256"]:
                continue
            del left[sticker.id]
            loaded = Loaded(None, old["image_sha256"], content if embed else None)
            yield {**start_row(sticker, loaded, embed), **{key: old.get(key) for key in _TAKEN}}


def _good_rows(run: Path, fingerprint: str) -> Iterator[Row]:
    """Rows that are ok, of the shards and of journals that no shard has taken up yet."""
    for path in shard_paths(run):
        table = read_shard(path, SCHEMA.names)
        if (table.schema.metadata or {}).get(FINGERPRINT_KEY) == fingerprint.encode():
            yield from (row for row in table.to_pylist() if row["status"] == "ok")
    for path in journal_paths(run):
        yield from (row for row in read_journal(path, fingerprint) if row["status"] == "ok")


def _says_the_same(old: Row, sticker: Sticker, pack: PromptPack) -> bool:
    """Whether the prompt was the same for the old row's sticker, and the row has every view asked for."""
    before = Sticker(id=sticker.id, path=sticker.path, split=old["split"], text=old["text"])
    whole = all(bool(old.get(view)) == (view in pack.asked) for view in VIEWS)
    return whole and pack.messages(before) == pack.messages(sticker)
