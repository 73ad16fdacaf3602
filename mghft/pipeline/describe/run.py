"""The describe run: goes over the stickers of a corpus and writes their views; it can be stopped anywhere.

Images are decoded ahead of the engine by processes of their own (`scheduler`), finished rows reach the disk
at once (`runs.store`). Rows are joined to stickers by id.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.estimate import Estimate, estimate
from mghft.pipeline.describe.outcome import UNUSABLE_ANSWERS, EarlyStop
from mghft.pipeline.describe.prepare import EngineRun, prepare_run
from mghft.pipeline.describe.reuse import reusable_rows
from mghft.pipeline.describe.scheduler import EngineFactory, open_scheduler
from mghft.pipeline.describe.summary import finish_run
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.factory import open_engine
from mghft.pipeline.progress import Progress
from mghft.pipeline.prompting.load import load_pack
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.manifest import open_run
from mghft.pipeline.runs.pictures import check_pictures
from mghft.pipeline.runs.shards import remove_leftovers
from mghft.pipeline.runs.status import RunStats
from mghft.pipeline.runs.store import RunStore, check_rows
from mghft.pipeline.text import plural
from mghft.pipeline.waiting import now_doing


def describe(
    config: DescribeConfig, *, start_engine: Callable[[], Engine] | None = None
) -> RunStats | Estimate:
    """Describe the chosen stickers of a corpus into a run folder; go on where a run stopped.

    Args:
        config: the run; the same folder takes only the same content-deciding choices (see `manifest`).
        start_engine: starts an engine of one's own when there is work, which the run closes; None starts the
            one of the configuration.

    Returns:
        The run's statistics, as in its stats.json; of a dry run an estimate, and nothing is written.

    Raises:
        FileNotFoundError: data, card, prompt pack or model does not exist.
        ValueError: bad input, another run in the folder, other pictures than it described (unless
            `allow_changed_images`), or (`strict`) failed rows.
        RunLockedError: another process writes to the folder.
        EngineDiedError: the engine died or its server went away; finished rows are written first.
        NothingDescribedError: the first 20 answers are all unusable (`early_stop`; they are written first),
            or every sticker of a dry run failed.
        OSError: a row cannot be kept (disk full, read-only folder).
        KeyboardInterrupt: asked to stop; finished rows are written first.
    """
    now_doing("reading the corpus")
    corpus = load_corpus(load_card(config.corpus.card), config.corpus.data)
    pack = load_pack(config.prompt)
    run = prepare_run(corpus, config.selection, pack, config.engine, config.image, config.run)
    start = start_engine or partial(
        open_engine,
        run.model,
        run.engine,
        share_images=pack.shares_images,
        system=pack.system,
        sampling=pack.sampling,
    )
    if run.options.dry_run:
        return estimate(run, lambda: closing(start()), seed=config.selection.seed)
    return execute_run(run, lambda: closing(start()))


def execute_run(run: EngineRun, engine: EngineFactory) -> RunStats:
    """Describe the stickers of a prepared run; go on where it stopped.

    Args:
        run: from `prepare_run`.
        engine: opens the engine when there is work; what becomes of it afterwards is the context's business,
            so one engine can serve several runs.

    Returns:
        The run's statistics, as in its stats.json.

    Raises:
        ValueError, RunLockedError, EngineDiedError, NothingDescribedError, OSError, KeyboardInterrupt: as in
            `describe`.
    """
    options, fingerprint = run.options, run.manifest["fingerprint"]
    options.out.mkdir(parents=True, exist_ok=True)
    with lock_run(options.out, options.worker):
        remove_leftovers(options.out, options.worker)
        open_run(options.out, run.manifest, alone=options.worker is None)
        store = RunStore(
            options.out,
            fingerprint,
            worker=options.worker,
            shard_rows=options.shard_rows,
            image_root=run.corpus.root if options.embed_images else None,
        )
        with closing(store):
            recovered = store.recover()
            retried = [
                sticker
                for sticker in run.stickers
                if options.retry_failed and store.statuses.get(sticker.id) == "failed"
            ]
            if not options.allow_changed_images:
                again = {sticker.id for sticker in retried}
                kept = [one for one in run.stickers if one.id in store.statuses and one.id not in again]
                check_pictures(options.out, run.corpus.root, kept)
            store.retry([sticker.id for sticker in retried])
            wanted = retried + [sticker for sticker in run.stickers if sticker.id not in store.statuses]
            reused = set()
            for row in reusable_rows(run, wanted):
                store.add(row)
                reused.add(row["sticker_id"])
            remaining = [sticker for sticker in wanted if sticker.id not in reused]
            resumed = len(run.stickers) - len(wanted)
            progress = Progress(len(run.stickers), resumed, recovered, len(reused))
            if remaining:
                with _interrupted_by_sigterm():
                    _describe_remaining(run, remaining, engine, store, progress)
        check_rows(options.out, fingerprint, [sticker.id for sticker in run.stickers])
        stats = finish_run(run, progress, write=bool(wanted or recovered))
    if options.strict and stats["failed"]:
        failed = plural(stats["failed"], "sticker")
        raise ValueError(f"{failed} failed: see them with `mghft failed {options.out}`")
    return stats


def _describe_remaining(
    run: EngineRun,
    remaining: Sequence[Sticker],
    engine: EngineFactory,
    store: RunStore,
    progress: Progress,
) -> None:
    described = "ok" in store.statuses.values() or progress.reused > 0
    watched = run.options.early_stop and not described
    first_answers = EarlyStop(run.options.out, described=not watched)
    began = time.monotonic()
    first = UNUSABLE_ANSWERS if watched else None
    with open_scheduler(run, engine, first=first) as scheduler, progress:
        progress.engine_is_up(time.monotonic() - began)
        with closing(scheduler.rows(remaining)) as finished:
            for rows in finished:
                for row in rows:
                    store.add(row)
                progress.advance(rows)
                first_answers.take(rows)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM (a scheduler's polite stop) end the run as Ctrl-C does: finished rows are written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
