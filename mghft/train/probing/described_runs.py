"""Describe runs as `prompts score` reads them: found in folders, cut to stickers that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.runs.journal import journal_paths
from mghft.pipeline.runs.manifest import FILE, Manifest, read_manifest
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.views import VIEWS

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of descriptions.

    Attributes:
        name: its folder's name, or the path as given where two share the name.
        rows: in the order of the sticker ids, which no engine and no retry changes.
    """

    name: str
    folder: Path
    manifest: Manifest
    rows: list[Row]

    @property
    def language(self) -> str:
        """Language of the prompt pack."""
        return str(self.manifest["prompt"].get("language", "en"))

    @property
    def views(self) -> tuple[str, ...]:
        """The views that its prompt asks for."""
        return tuple(view for view in VIEWS if self.manifest["prompt"]["views"].get(view) is not None)


def find_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs that are named, and those in folders of tries.

    Args:
        paths: run folders of `mghft describe`, or folders that hold some.

    Returns:
        Runs in the order given, and notes on what was left out.

    Raises:
        FileNotFoundError: a path does not exist or holds no run with a row.
        ValueError: a manifest or shard is damaged.
    """
    folders: dict[Path, Path] = {}
    notes = []
    for path in paths:
        found, left_out = _folders(path)
        notes += [f"{child.name} has no finished row and is left out" for child in left_out]
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    names = [folder.resolve().name for folder in folders.values()]
    runs = []
    for folder, name in zip(folders.values(), names, strict=True):
        rows = read_descriptions(folder).to_pylist()
        if not rows:
            raise ValueError(f"the run {folder} has no rows: describe its stickers first")
        rows.sort(key=lambda row: str(row["sticker_id"]))
        shown = name if names.count(name) == 1 else str(folder)
        runs.append(Run(shown, folder, read_manifest(folder), rows))
        if journal_paths(folder):
            notes.append(f"{shown} is unfinished: rows that are in no shard yet are not scored")
    return runs, notes


def _folders(path: Path) -> tuple[list[Path], list[Path]]:
    """Run folders that a path means, and those that are left out because they have no shard."""
    if not path.is_dir():
        raise FileNotFoundError(f"the run {path} does not exist: give the folder of a run, or one of tries")
    if (path / FILE).is_file() or shard_paths(path):
        return [path], []
    inner = sorted(child for child in path.iterdir() if (child / FILE).is_file())
    found = [child for child in inner if shard_paths(child)]
    if found:
        return found, [child for child in inner if child not in found]
    deeper = sorted(child.parent for child in path.glob(f"*/*/{FILE}"))
    if deeper:
        # Tries differ in their stickers: all of them at once would be compared on what little they share.
        raise FileNotFoundError(
            f"the folder {path} holds several tries: score one, as in {deeper[-1].parent}"
        )
    raise FileNotFoundError(
        f"the folder {path} holds no describe run with rows: describe some stickers first"
    )


def cut_to_splits(runs: Sequence[Run], splits: Sequence[str] | None) -> tuple[list[Run], list[str]]:
    """The rows of some splits; without a choice all but test, since a prompt is chosen by this score.

    Raises:
        ValueError: a run has no row of the splits.
    """
    have = sorted({row["split"] for run in runs for row in run.rows})
    wanted = set(splits) if splits else set(have) - {"test"} or {"test"}
    unknown = sorted(wanted - set(have))
    if unknown:
        raise ValueError(f"no run has a row of the split '{unknown[0]}': --split can be {', '.join(have)}")
    notes = []
    if not splits and "test" in have:
        if wanted == {"test"}:
            notes.append("all stickers are of the split test: a prompt chosen by this score has seen them")
        else:
            count = max(sum(row["split"] == "test" for row in run.rows) for run in runs)
            notes.append(
                f"{count} stickers of the split test are left out, so that choosing a prompt does not use it "
                "(--split takes it in)"
            )
    cut = [_with_rows(run, [row for row in run.rows if row["split"] in wanted]) for run in runs]
    for run in cut:
        if not run.rows:
            raise ValueError(f"the run {run.name} has no row of the split {', '.join(sorted(wanted))}")
    return cut, notes


def cut_to_common(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Only stickers that every run has, so that prompts are compared on the same ones.

    Raises:
        ValueError: they share none, or a shared one has another picture or label in another run.
    """
    shared = set.intersection(*({row["sticker_id"] for row in run.rows} for run in runs))
    if not shared:
        raise ValueError(
            f"the runs {', '.join(run.name for run in runs)} have no sticker in common: describe the same "
            "ones with each prompt, or score them one by one"
        )
    cut = [_with_rows(run, [row for row in run.rows if row["sticker_id"] in shared]) for run in runs]
    for run in cut[1:]:
        for one, other in zip(cut[0].rows, run.rows, strict=True):
            pictures = {one["image_sha256"], other["image_sha256"]} - {None}
            labels = {one["label"], other["label"]}
            if len(pictures) > 1 or len(labels) > 1:
                what = "picture" if len(pictures) > 1 else "label"
                raise ValueError(
                    f"the sticker {one['sticker_id']!r} has another {what} in {run.name} than in "
                    f"{cut[0].name}: the corpus changed between the runs, so describe it again"
                )
    notes = [
        f"{run.name}: {len(run.rows) - len(shared)} of {len(run.rows)} stickers are not in every run"
        for run in runs
        if len(run.rows) > len(shared)
    ]
    return cut, notes


def _with_rows(run: Run, rows: list[Row]) -> Run:
    return Run(run.name, run.folder, run.manifest, rows)
