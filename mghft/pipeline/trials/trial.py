"""Trying prompts: several packs on the same few stickers with one engine, each in a run of its own.

A folder of tries holds `try-001`, `try-002`, …; a try holds its manifest, a run folder for each pack, a page
and a summary. The same choice again goes on with the same try; rows of earlier tries are taken over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import class_counts
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.engine import StartEngine, engine_facts, find_source, open_engine
from mghft.pipeline.describe.manifest import build_manifest
from mghft.pipeline.describe.reuse import matching_runs
from mghft.pipeline.describe.run import chosen_stickers, describe
from mghft.pipeline.engines.base import Engine, Request, Response
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.files import write_text
from mghft.pipeline.progress import say
from mghft.pipeline.prompting.pack import PromptPack, load_pack
from mghft.pipeline.runs.lock import lock_run

FILE = "try.json"
PAGE, SUMMARY = "index.html", "summary.md"
_LONGEST_TITLE = 60


class Subset(BaseModel):
    """Which stickers were tried: the choice as given, and what it came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: str | None
    where: tuple[str, ...]
    ids: str | None
    per_class: int | None
    sample: int | None
    seed: int
    limit: int | None
    stickers: int
    ids_sha256: str
    classes: dict[str, int]

    def words(self) -> str:
        """The choice in a few words."""
        parts = [] if self.split is None else [f"split {self.split}"]
        parts += [f"where {condition}" for condition in self.where]
        parts += [] if self.ids is None else [f"ids of {Path(self.ids).name}"]
        for count, words in ((self.per_class, "per class"), (self.sample, "drawn")):
            parts += [] if count is None else [f"{count} {words}, seed {self.seed}"]
        parts += [] if self.limit is None else [f"first {self.limit}"]
        return ", ".join(parts) or "all"


class TrialPack(BaseModel):
    """One pack of a try; `folder` is its run folder inside the try."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    given: str
    folder: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    sha256: str
    fingerprint: str


class Trial(BaseModel):
    """The manifest of a try, `try.json`; written before anything is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    key: str
    created: str
    card: str
    model: str
    engine: str
    subset: Subset
    packs: tuple[TrialPack, ...]


@dataclass(frozen=True)
class Done:
    """A finished try: its folder, manifest and stickers, and the statistics of every pack's run."""

    folder: Path
    manifest: Trial
    stickers: Sequence[Sticker]
    stats: Sequence[dict[str, Any]]


def run_trial(
    config: DescribeConfig, prompts: Sequence[str], *, start_engine: StartEngine | None = None
) -> Done:
    """Describes the same stickers with each pack; goes on where a try of the same choice stopped.

    Args:
        config: as of a describe run; `out` is the folder of tries, `prompt` is not looked at. Without a
            choice of stickers, 8 of every class are drawn (64 of all where nothing is labelled). The split
            test is left out unless a split or ids are named: who chooses a prompt by it has trained on it.
        prompts: packs, names or paths.
        start_engine: as in `describe`; called once at most.

    Raises:
        ValueError, FileNotFoundError, RunLockedError, EngineDiedError, OSError: as in `describe`.
    """
    if config.part is not None or config.dry_run:
        raise ValueError("trying prompts knows neither parts nor a dry run: take --shard and --dry-run out")
    corpus = load_corpus(load_card(config.card), config.data)
    config = _with_default_subset(config, corpus)
    stickers = chosen_stickers(config, corpus)
    packs = _load_packs(prompts)
    source = find_source(config)
    manifests = [build_manifest(config, corpus, pack, source, engine_facts(config)) for pack in packs]
    manifest = _manifest(config, corpus, stickers, prompts, packs, manifests)
    config.out.mkdir(parents=True, exist_ok=True)
    with lock_run(config.out, None):
        folder, manifest = _open_try(config.out, manifest)
        start = _starter(start_engine, source, config, packs)
        stats: list[dict[str, Any]] = []
        with closing(_SharedEngine(start)) as shared:
            for entry, pack, run_manifest in zip(manifest.packs, packs, manifests, strict=True):
                say(f"prompt {entry.title} ({len(stats) + 1} of {len(packs)})")
                out = folder / entry.folder
                earlier = _earlier_runs(config.out, run_manifest, out)
                changes = {"prompt": entry.given, "out": out, "reuse": (*earlier, *config.reuse)}
                settings = config.model_copy(update=changes)
                stats.append(describe(settings, start_engine=shared.lend, source=source, pack=pack))
    return Done(folder, manifest, stickers, stats)


def read_trial(folder: Path) -> Trial:
    """The manifest of a try.

    Raises:
        FileNotFoundError: the folder is no try.
        ValueError: the manifest is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the folder {folder} is not a trial of `mghft prompts try`: it has no {FILE}"
        )
    try:
        return Trial.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ValueError(f"the manifest {path} is damaged or was changed: move its folder aside") from None


def trial_folders(tries: Path) -> list[Path]:
    """The tries in a folder, oldest first."""
    return sorted(path.parent for path in tries.glob(f"try-*/{FILE}"))


def _with_default_subset(config: DescribeConfig, corpus: Corpus) -> DescribeConfig:
    changes: dict[str, Any] = {}
    if config.split is None and not any(condition.startswith("split") for condition in config.where):
        splits = {sticker.split for sticker in corpus.stickers}
        if "test" in splits and len(splits) > 1 and config.ids is None:
            changes["where"] = (*config.where, "split!=test")
    given = (config.ids, config.per_class, config.sample, config.limit)
    if all(choice is None for choice in given):
        labelled = any(sticker.label is not None for sticker in corpus.stickers)
        changes.update({"per_class": 8} if labelled else {"sample": 64})
    return config.model_copy(update=changes)


def _load_packs(prompts: Sequence[str]) -> list[PromptPack]:
    packs = [load_pack(prompt) for prompt in prompts]
    if not packs:
        raise ValueError("there is no prompt to try: give packs with --prompt")
    digests = [pack.digest() for pack in packs]
    for number, digest in enumerate(digests):
        if (first := digests.index(digest)) < number:
            raise ValueError(f"the prompts {prompts[first]} and {prompts[number]} ask the same: give one")
    return packs


def _manifest(
    config: DescribeConfig,
    corpus: Corpus,
    stickers: Sequence[Sticker],
    prompts: Sequence[str],
    packs: Sequence[PromptPack],
    manifests: Sequence[dict[str, Any]],
) -> Trial:
    ids = hashlib.sha256("\n".join(sticker.id for sticker in stickers).encode()).hexdigest()
    titles = _titles(prompts, packs)
    entries = []
    for prompt, title, pack, manifest in zip(prompts, titles, packs, manifests, strict=True):
        digest = pack.digest()
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", pack.name).strip("-")[:40] or "pack"
        entries.append(
            TrialPack(
                title=title,
                given=str(prompt),
                folder=f"{slug}-{digest[:8]}",
                sha256=digest,
                fingerprint=manifest["fingerprint"],
            )
        )
    key = json.dumps([ids, [entry.fingerprint for entry in entries]])
    return Trial(
        key=hashlib.sha256(key.encode()).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        card=corpus.card.name,
        model=manifests[0]["model"]["name"],
        engine=manifests[0]["engine"]["name"],
        subset=Subset(
            split=config.split,
            where=config.where,
            ids=None if config.ids is None else str(config.ids),
            per_class=config.per_class,
            sample=config.sample,
            seed=config.seed,
            limit=config.limit,
            stickers=len(stickers),
            ids_sha256=ids,
            classes=class_counts(stickers),
        ),
        packs=tuple(entries),
    )


def _titles(prompts: Sequence[str], packs: Sequence[PromptPack]) -> list[str]:
    """What the packs are called: their names; edits of one pack, which share it, by their files' names."""
    names = [pack.name for pack in packs]
    if len(set(names)) < len(names):
        names = [Path(prompt).stem for prompt in prompts]
    # A stranger's name goes to the terminal and into tables.
    names = ["".join(c if c.isprintable() else " " for c in name)[:_LONGEST_TITLE] for name in names]
    return [
        name if names.count(name) == 1 else f"{name} {pack.digest()[:8]}"
        for name, pack in zip(names, packs, strict=True)
    ]


def _open_try(tries: Path, manifest: Trial) -> tuple[Path, Trial]:
    """The folder of a try of the same stickers and prompts, or a new one with its manifest."""
    numbers = [0]
    for folder in sorted(tries.glob("try-*")):
        if (number := folder.name.removeprefix("try-")).isdecimal():
            numbers.append(int(number))
        try:
            found = read_trial(folder)
        except (FileNotFoundError, ValueError):
            continue
        if found.key == manifest.key:
            return folder, manifest.model_copy(update={"created": found.created})
    folder = tries / f"try-{max(numbers) + 1:03d}"
    folder.mkdir()
    write_text(folder / FILE, manifest.model_dump_json(indent=2) + "\n")
    return folder, manifest


def _earlier_runs(tries: Path, manifest: dict[str, Any], out: Path) -> list[Path]:
    """Runs of the tries whose rows fit; those that do not fit are no news here."""
    if not any(tries.glob("*/*/manifest.json")):
        return []
    return [run for run, _ in matching_runs([tries], manifest, out)[0]]


def _starter(
    start_engine: StartEngine | None, source: ModelSource, config: DescribeConfig, packs: Sequence[PromptPack]
) -> Callable[[], Engine]:
    if start_engine is not None:
        return lambda: start_engine(source, config)
    return lambda: open_engine(source, config, share_images=any(pack.mode == "per-view" for pack in packs))


class _SharedEngine:
    """One engine for all packs: started when the first pack needs it, ended when all are done."""

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start = start
        self._engine: Engine | None = None

    def lend(self, source: ModelSource, config: DescribeConfig) -> Engine:
        """The engine, in a form that a run cannot end."""
        if self._engine is None:
            self._engine = self._start()
        return _LentEngine(self._engine)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


class _LentEngine:
    """An engine that goes on after `close`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def capacity(self) -> int:
        return self._engine.capacity

    def submit(self, request: Request) -> None:
        self._engine.submit(request)

    def collect(self) -> list[Response]:
        return self._engine.collect()

    def close(self) -> None:
        """The next pack needs it."""
