"""Describe runs as `prompts score` reads them: found in folders, cut to stickers that all of them have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from mghft.pipeline.runs.corrections import open_corrections
from mghft.pipeline.runs.journal import journal_paths
from mghft.pipeline.runs.manifest import FILE, asked_views, read_manifest
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.text import plural
from mghft.pipeline.views import VIEWS


@dataclass(frozen=True)
class DescribedSticker:
    """A row of a run.

    Attributes:
        path: of the image, inside the corpus.
        texts: by view, "" where the view is missing.
        status: "ok" or "failed".
        raw: the model's own answer of a failed row.
    """

    id: str
    image_sha256: str | None
    path: str
    split: str
    label: int | None
    label_name: str | None
    texts: Mapping[str, str]
    status: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    raw: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of a shard."""
        return cls(
            id=row["sticker_id"],
            image_sha256=row["image_sha256"],
            path=row["path"],
            split=row["split"],
            label=row["label"],
            label_name=row["label_name"],
            texts={view: row[view] or "" for view in VIEWS},
            status=row["status"],
            finish_reason=row["finish_reason"],
            prompt_tokens=row["prompt_tokens"],
            output_tokens=row["output_tokens"],
            raw=row["raw"],
        )


@dataclass(frozen=True)
class DescribedRun:
    """A run of descriptions.

    Attributes:
        name: its folder's name, or the path as given where two share the name.
        stickers: in the order of their ids, which no engine and no retry changes.
        views: those that its prompt asks for; an imported run, whose prompt is unknown, has all.
        prompt, prompt_sha256, language: of the prompt pack; the hash of an imported run is None.
        model, corpus: names.
        fingerprint: of its manifest.
    """

    name: str
    folder: Path
    stickers: list[DescribedSticker]
    views: tuple[str, ...]
    prompt: str
    prompt_sha256: str | None
    language: str
    model: str
    corpus: str
    fingerprint: str

    @classmethod
    def read(cls, folder: Path, name: str, corrections: Path | None = None) -> Self:
        """Read the manifest and all rows of a run folder.

        Raises:
            FileNotFoundError: it is not a run folder.
            ValueError: the manifest or a shard is damaged, there is no row, or no view was asked for.
        """
        rows = read_descriptions(folder).to_pylist()
        if not rows:
            raise ValueError(f"the run {folder} has no rows: describe its stickers first")
        if (laid_over := open_corrections(corrections, folder)) is not None:
            rows = [laid_over.lay_over(row) for row in rows]
        stickers = sorted(map(DescribedSticker.from_row, rows), key=lambda sticker: sticker.id)
        manifest = read_manifest(folder)
        prompt, views = manifest["prompt"], asked_views(manifest)
        if not views:
            raise ValueError(
                f"the run {folder} has no views (it is one of `mghft zero-shot`): "
                "give runs of `mghft describe`"
            )
        return cls(
            name=name,
            folder=folder,
            stickers=stickers,
            views=views,
            prompt=prompt["name"],
            prompt_sha256=prompt["sha256"],
            language=str(prompt.get("language", "en")),
            model=manifest["model"]["name"],
            corpus=manifest["corpus"]["card"],
            fingerprint=manifest["fingerprint"],
        )


def find_runs(paths: Sequence[Path], corrections: Path | None = None) -> tuple[list[DescribedRun], list[str]]:
    """Read the runs that are named, and those in folders of trials.

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
        run = DescribedRun.read(folder, name if names.count(name) == 1 else str(folder), corrections)
        runs.append(run)
        if journal_paths(folder):
            notes.append(f"{run.name} is unfinished: rows that are in no shard yet are not scored")
    return runs, notes


def _folders(path: Path) -> tuple[list[Path], list[Path]]:
    """Run folders that a path means, and those that are left out because they have no shard."""
    if not path.is_dir():
        raise FileNotFoundError(f"the run {path} does not exist: give the folder of a run, or one of a trial")
    if (path / FILE).is_file() or shard_paths(path):
        return [path], []
    inner = sorted(child for child in path.iterdir() if (child / FILE).is_file())
    found = [child for child in inner if shard_paths(child)]
    if found:
        return found, [child for child in inner if child not in found]
    deeper = sorted(child.parent for child in path.glob(f"*/*/{FILE}"))
    if deeper:
        # Trials differ in their stickers: all of them at once would be compared on what little they share.
        raise FileNotFoundError(
            f"the folder {path} holds several trials: score one, as in {deeper[-1].parent}"
        )
    raise FileNotFoundError(
        f"the folder {path} holds no describe run with rows: describe some stickers first"
    )


def cut_to_splits(
    runs: Sequence[DescribedRun], splits: Sequence[str] | None
) -> tuple[list[DescribedRun], list[str]]:
    """Cut runs to the rows of some splits; by default all but test, since a prompt is chosen by its score.

    Returns:
        The runs, and notes on what was left out.

    Raises:
        ValueError: a run has no row of the splits.
    """
    present = sorted({sticker.split for run in runs for sticker in run.stickers})
    wanted = set(splits) if splits else set(present) - {"test"} or {"test"}
    unknown = sorted(wanted - set(present))
    if unknown:
        raise ValueError(f"no run has a row of the split '{unknown[0]}': --split can be {', '.join(present)}")
    notes = []
    if not splits and "test" in present:
        if wanted == {"test"}:
            notes.append("all stickers are of the split test: a prompt chosen by this score has seen them")
        else:
            count = max(sum(sticker.split == "test" for sticker in run.stickers) for run in runs)
            notes.append(
                f"{plural(count, 'sticker')} of the split test {'is' if count == 1 else 'are'} left out, so "
                "that choosing a prompt does not use it (--split takes it in)"
            )
    cut = [_with(run, (sticker for sticker in run.stickers if sticker.split in wanted)) for run in runs]
    for run in cut:
        if not run.stickers:
            raise ValueError(f"the run {run.name} has no row of the split {', '.join(sorted(wanted))}")
    return cut, notes


def cut_to_common(runs: Sequence[DescribedRun]) -> tuple[list[DescribedRun], list[str]]:
    """Cut runs to the stickers that every run has, so that prompts are compared on the same ones.

    Returns:
        The runs, and notes on what was left out.

    Raises:
        ValueError: they share none, or a shared one has another picture or label in another run.
    """
    shared = set.intersection(*({sticker.id for sticker in run.stickers} for run in runs))
    if not shared:
        raise ValueError(
            f"the runs {', '.join(run.name for run in runs)} have no sticker in common: describe the same "
            "ones with each prompt, or score them one by one"
        )
    cut = [_with(run, (sticker for sticker in run.stickers if sticker.id in shared)) for run in runs]
    for run in cut[1:]:
        _check_same_stickers(cut[0], run)
    notes = [
        f"{run.name}: {len(run.stickers) - len(shared)} of {plural(run.stickers, 'sticker')} are not in "
        "every run"
        for run in runs
        if len(run.stickers) > len(shared)
    ]
    return cut, notes


def _check_same_stickers(first: DescribedRun, second: DescribedRun) -> None:
    """Refuse two runs of which one has another picture or label of a sticker."""
    for one, other in zip(first.stickers, second.stickers, strict=True):
        pictures = {one.image_sha256, other.image_sha256} - {None}
        if len(pictures) > 1 or one.label != other.label:
            what = "picture" if len(pictures) > 1 else "label"
            raise ValueError(
                f"the sticker {one.id!r} has another {what} in {second.name} than in {first.name}: the "
                "corpus changed between the runs, so describe it again"
            )


def _with(run: DescribedRun, stickers: Iterable[DescribedSticker]) -> DescribedRun:
    return replace(run, stickers=list(stickers))
