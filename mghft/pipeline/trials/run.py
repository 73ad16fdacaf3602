"""Trying prompts: several packs on the same few stickers with one engine, each in a run of its own.

The same choice again goes on with the same trial; rows of earlier trials are taken over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import Selection, class_counts
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.prepare import PreparedRun, prepare_run
from mghft.pipeline.describe.reuse import matching_runs
from mghft.pipeline.describe.run import execute_run
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.factory import open_engine
from mghft.pipeline.progress import say
from mghft.pipeline.prompting.load import load_pack
from mghft.pipeline.prompting.pack import PromptPack
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.status import RunStats
from mghft.pipeline.trials.trial import Subset, Trial, TrialPack, open_trial

_LONGEST_TITLE = 60
_PER_CLASS, _SAMPLE = 8, 64


@dataclass(frozen=True)
class TrialResult:
    """A finished trial: its folder, manifest and stickers, and the statistics of every pack's run."""

    folder: Path
    manifest: Trial
    stickers: Sequence[Sticker]
    stats: Sequence[RunStats]


def run_trial(
    config: DescribeConfig, prompts: Sequence[str], *, start_engine: Callable[[], Engine] | None = None
) -> TrialResult:
    """Describe the same stickers with each pack; go on where a trial of the same choice stopped.

    Args:
        config: as of a describe run; `out` is the folder of trials, `prompt` is not looked at. Without a
            choice of stickers, 8 of every class are drawn (64 of all where nothing is labelled). The split
            test is left out unless a split or ids are named: who chooses a prompt by it has trained on it.
        prompts: packs, names or paths.
        start_engine: as in `describe`; called once at most.

    Raises:
        ValueError, FileNotFoundError, RunLockedError, EngineDiedError, OSError: as in `describe`.
    """
    if config.run.worker is not None or config.run.dry_run:
        raise ValueError("a trial knows neither workers nor a dry run: take --worker and --dry-run out")
    corpus = load_corpus(load_card(config.corpus.card), config.corpus.data)
    selection = _with_default(config.selection, corpus)
    packs = _load_packs(prompts)
    # Packs are read and the model is found once: files may be edited meanwhile, and hashing takes a while.
    first = prepare_run(corpus, selection, packs[0], config.engine, config.image, config.run)
    runs = [replace(first, pack=pack) for pack in packs]
    share_images = any(pack.shares_images for pack in packs)
    start = start_engine or partial(
        open_engine,
        first.model,
        first.engine,
        share_images=share_images,
        system=first.pack.system,
        sampling=first.pack.sampling,
    )
    trials = config.run.out
    trials.mkdir(parents=True, exist_ok=True)
    stats: list[RunStats] = []
    with lock_run(trials, None), ExitStack() as stack:
        folder, trial = open_trial(trials, _manifest(selection, prompts, runs))
        # Started when the first pack needs it, ended when all are done.
        engine = cache(lambda: stack.enter_context(closing(start())))
        for entry, run in zip(trial.packs, runs, strict=True):
            say(f"prompt {entry.title} ({len(stats) + 1} of {len(runs)})")
            own = _inside(run, trials, folder / entry.folder)
            stats.append(execute_run(own, lambda: nullcontext(engine())))
    return TrialResult(folder, trial, first.stickers, stats)


def _with_default(selection: Selection, corpus: Corpus) -> Selection:
    changes: dict[str, object] = {}
    if selection.split is None and not any(condition.startswith("split") for condition in selection.where):
        splits = {sticker.split for sticker in corpus.stickers}
        if "test" in splits and len(splits) > 1 and selection.ids is None:
            changes["where"] = (*selection.where, "split!=test")
    narrowed = (selection.ids, selection.per_class, selection.sample, selection.limit)
    if all(choice is None for choice in narrowed):
        labelled = any(sticker.label is not None for sticker in corpus.stickers)
        changes.update({"per_class": _PER_CLASS} if labelled else {"sample": _SAMPLE})
    return selection.model_copy(update=changes)


def _load_packs(prompts: Sequence[str]) -> list[PromptPack]:
    packs = [load_pack(prompt) for prompt in prompts]
    if not packs:
        raise ValueError("there is no prompt to try: give packs with --prompt")
    digests = [pack.digest() for pack in packs]
    for number, digest in enumerate(digests):
        if (first := digests.index(digest)) < number:
            raise ValueError(f"the prompts {prompts[first]} and {prompts[number]} ask the same: give one")
    return packs


def _manifest(selection: Selection, prompts: Sequence[str], runs: Sequence[PreparedRun]) -> Trial:
    first = runs[0]
    ids = "\n".join(sticker.id for sticker in first.stickers)
    subset = Subset(
        **dict(selection),
        stickers=len(first.stickers),
        ids_sha256=hashlib.sha256(ids.encode()).hexdigest(),
        classes=class_counts(first.stickers),
    )
    titles = _titles(prompts, [run.pack for run in runs])
    packs = tuple(
        _entry(prompt, title, run) for prompt, title, run in zip(prompts, titles, runs, strict=True)
    )
    key = json.dumps([subset.ids_sha256, [pack.fingerprint for pack in packs]])
    return Trial(
        key=hashlib.sha256(key.encode()).hexdigest(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        card=first.corpus.card.name,
        model=first.model.name,
        engine=first.engine.kind,
        subset=subset,
        packs=packs,
    )


def _entry(prompt: str, title: str, run: PreparedRun) -> TrialPack:
    digest = run.pack.digest()
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", run.pack.name).strip("-")[:40] or "pack"
    return TrialPack(
        title=title,
        given=prompt,
        folder=f"{slug}-{digest[:8]}",
        sha256=digest,
        fingerprint=run.manifest["fingerprint"],
    )


def _titles(prompts: Sequence[str], packs: Sequence[PromptPack]) -> list[str]:
    """Return the packs' names; of edits of one pack, which share it, their files' names."""
    names = [pack.name for pack in packs]
    if len(set(names)) < len(names):
        names = [Path(prompt).stem for prompt in prompts]
    # A stranger's name goes to the terminal and into tables.
    names = ["".join(c if c.isprintable() else " " for c in name)[:_LONGEST_TITLE] for name in names]
    return [
        name if names.count(name) == 1 else f"{name} {pack.digest()[:8]}"
        for name, pack in zip(names, packs, strict=True)
    ]


def _inside(run: PreparedRun, trials: Path, out: Path) -> PreparedRun:
    """Return the run with its folder inside a trial; rows of the other trials are reused."""
    earlier: list[Path] = []
    if any(trials.glob("*/*/manifest.json")):
        # Runs that do not fit are no news here.
        earlier = [source.folder for source in matching_runs([trials], run.manifest, out)[0]]
    changes = {"out": out, "reuse": (*earlier, *run.options.reuse)}
    return replace(run, options=run.options.model_copy(update=changes))
