"""Rows of earlier runs taken over into a new one: what was asked and answered before is not asked again.

A row is taken over when everything that decides it is the same: model, prompt as rendered for the sticker,
sampling, image transform, engine, and the bytes of the image. Label and split are those of the corpus today.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.prepare import EngineRun, PreparedRun
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.images.load import Loaded
from mghft.pipeline.progress import say
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.journal import journal_paths, read_journal
from mghft.pipeline.runs.manifest import FILE, Manifest, flatten, read_manifest, runs_in
from mghft.pipeline.runs.rows import Row, has_views, start_row
from mghft.pipeline.runs.shards import SCHEMA, belongs_to, read_shard, shard_paths
from mghft.pipeline.text import first_and_more
from mghft.pipeline.views import VIEWS

# Columns of the old row that the new one has too; the others are the corpus'.
_TAKEN_OVER = (*VIEWS, "status", "error", "finish_reason", "prompt_tokens", "output_tokens", "raw")
_KEYS_NAMED = 4


class SourceRun(NamedTuple):
    """A run whose rows fit a new one."""

    folder: Path
    fingerprint: str


def find_runs(folder: Path) -> list[Path]:
    """List the run folders in a folder: itself, or those one or two levels below it, sorted.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: no run is in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder {folder} does not exist: give one of `mghft describe` or `prompts try`"
        )
    runs = runs_in(folder)
    if not runs:
        raise ValueError(f"the folder {folder} holds no run with a {FILE}, so there is nothing to reuse")
    return runs


def row_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a manifest decides a row that is ok, flat."""
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
    folders: Sequence[Path], manifest: Manifest, out: Path
) -> tuple[list[SourceRun], list[str]]:
    """Find the runs whose rows fit a new run's manifest.

    Args:
        folders: runs, or folders of runs.
        manifest: of the new run.
        out: its folder, which is none of its own sources.

    Returns:
        The runs, and a sentence for every folder given that has none.

    Raises:
        FileNotFoundError, ValueError: as in `find_runs`.
    """
    sources: list[SourceRun] = []
    notes: list[str] = []
    for folder in folders:
        fitting: list[SourceRun] = []
        nearest: tuple[list[str], Path] | None = None
        for run in find_runs(folder):
            if run.resolve() == out.resolve():
                continue
            try:
                old = read_manifest(run)
                different = _differences(old, manifest)
            except (ValueError, LookupError, TypeError) as error:
                notes.append(f"nothing is reused from {run}: {error}")
                continue
            if not different:
                fitting.append(SourceRun(run, old["fingerprint"]))
            elif nearest is None or len(different) < len(nearest[0]):
                nearest = (different, run)
        if not fitting and nearest is not None:
            different, run = nearest
            named = first_and_more(different, _KEYS_NAMED)
            notes.append(f"nothing is reused from {run}: it differs in {named}")
        sources += fitting
    return sources, notes


def reusable_rows(run: EngineRun, wanted: Sequence[Sticker]) -> Iterator[Row]:
    """Yield new rows for stickers that earlier runs described, each sticker once at most.

    Only images of stickers that have a good row somewhere are read; one run's shard is in memory at a time.
    A line is said for every folder that has nothing to reuse.

    Args:
        run: the new run; its options name the earlier ones.
        wanted: its stickers that are still to be described.
    """
    options = run.options
    # Rows of other questions have no views to take over.
    if not (options.reuse and wanted and isinstance(run, PreparedRun)):
        return
    sources, notes = matching_runs(options.reuse, run.manifest, options.out)
    for note in notes:
        say(note)
    remaining = {sticker.id: sticker for sticker in wanted}
    for source in sources:
        for old in _good_rows(source):
            sticker = remaining.get(old["sticker_id"])
            if sticker is None or not _asks_the_same(old, sticker, run.pack):
                continue
            try:
                content = read_image(run.corpus.root, sticker.path)
            except ImageError:
                continue
            if hashlib.sha256(content).hexdigest() != old["image_sha256"]:
                continue
            del remaining[sticker.id]
            loaded = Loaded(None, old["image_sha256"], content if options.embed_images else None)
            new = start_row(sticker, loaded, options.embed_images)
            yield cast(Row, {**new, **{key: old.get(key) for key in _TAKEN_OVER}})


def _differences(old: Manifest, new: Manifest) -> list[str]:
    """Name the keys in which an old run's manifest does not fit a new one's."""
    before, now = row_facts(old), row_facts(new)
    different = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if old["attempts"] > new["attempts"]:
        # The response to a later attempt is one that the new run would not have asked for.
        different.append("attempts")
    return different


def _good_rows(source: SourceRun) -> Iterator[Row]:
    """Yield rows that are ok, of the shards and of journals that no shard has taken up yet."""
    for path in shard_paths(source.folder):
        table = read_shard(path, SCHEMA.names)
        if belongs_to(table, source.fingerprint):
            yield from (row for row in table.to_pylist() if row["status"] == "ok")
    for path in journal_paths(source.folder):
        yield from (row for row in read_journal(path, source.fingerprint) if row["status"] == "ok")


def _asks_the_same(old: Row, sticker: Sticker, pack: PromptPack) -> bool:
    """Return whether the old row's sticker was asked about alike, and the row has every view asked for."""
    before = Sticker(id=sticker.id, path=sticker.path, split=old["split"], text=old["text"])
    return has_views(old, pack.asked) and pack.messages(before) == pack.messages(sticker)
