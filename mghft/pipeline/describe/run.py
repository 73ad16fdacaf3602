"""The describe run: goes over the stickers of a corpus and writes their views; it can be stopped anywhere.

Images are decoded ahead of the engine by threads (`feed`), finished rows reach the disk at once (`store`).
Rows are joined to stickers by id.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import FrameType
from typing import Any

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.selection import select
from mghft.pipeline.corpora.sticker import Corpus, Sticker
from mghft.pipeline.describe.config import DescribeConfig, build_describe_config
from mghft.pipeline.describe.engine import StartEngine, engine_facts, find_source, open_engine
from mghft.pipeline.describe.estimate import estimate
from mghft.pipeline.describe.manifest import build_manifest
from mghft.pipeline.describe.reuse import matching_runs, reused_rows
from mghft.pipeline.describe.scheduler import open_scheduler
from mghft.pipeline.describe.summary import finish_run
from mghft.pipeline.engines.base import Engine
from mghft.pipeline.engines.model_source import ModelSource
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image
from mghft.pipeline.progress import Progress, say
from mghft.pipeline.prompting.pack import PromptPack, load_pack
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.manifest import check_run, open_run
from mghft.pipeline.runs.rows import Row
from mghft.pipeline.runs.shards import remove_leftovers
from mghft.pipeline.runs.store import RunStore, rows_there

__all__ = ["DescribeConfig", "RunLockedError", "build_describe_config", "describe"]


def describe(
    config: DescribeConfig,
    *,
    start_engine: StartEngine | None = None,
    source: ModelSource | None = None,
    pack: PromptPack | None = None,
) -> dict[str, Any]:
    """Describes the chosen stickers of a corpus into the folder `config.out`; goes on where a run stopped.

    Args:
        config: the run; the same folder takes only the same content-deciding choices (see `manifest`).
        start_engine: makes the engine when there is work; None starts the one of the configuration.
        source: the model, where it was found before: hashing large weights takes a while.
        pack: the prompt pack, where it was read before: its file may be edited while others are tried.

    Returns:
        The run's statistics, as in its stats.json; with `config.dry_run` an estimate, and nothing is written.

    Raises:
        FileNotFoundError: data, card, prompt pack or model does not exist.
        ValueError: bad input, another run in the folder, or (`strict`) failed rows.
        RunLockedError: another process writes to the folder.
        EngineDiedError: the engine died or its server went away; finished rows are written first.
        OSError: a row cannot be kept (disk full, read-only folder).
        KeyboardInterrupt: asked to stop; finished rows are written first.
    """
    corpus = load_corpus(load_card(config.card), config.data)
    stickers = chosen_stickers(config, corpus)
    pack = pack or load_pack(config.prompt)
    source = source or find_source(config)
    start = start_engine or open_engine
    manifest = build_manifest(config, corpus, pack, source, engine_facts(config))
    if config.dry_run:
        left = stickers
        if config.out.is_dir():
            check_run(config.out, manifest)
            done = rows_there(config.out, manifest["fingerprint"])
            left = [sticker for sticker in stickers if sticker.id not in done]
        taken = {row["sticker_id"] for row in _reusable(config, manifest, pack, left)}
        left = [sticker for sticker in left if sticker.id not in taken]
        return estimate(left, len(stickers), lambda: start(source, config), config, pack)
    config.out.mkdir(parents=True, exist_ok=True)
    with lock_run(config.out, config.worker_numbers):
        remove_leftovers(config.out, config.worker_numbers)
        open_run(config.out, manifest, alone=config.worker_numbers is None)
        store = RunStore(
            config.out,
            manifest["fingerprint"],
            part=config.worker_numbers,
            shard_rows=config.shard_rows,
            images=config.embed_images,
        )
        with closing(store):
            recovered = store.recover(_Embed(config, corpus))
            retried = [
                sticker
                for sticker in stickers
                if config.retry_failed and store.done.get(sticker.id) == "failed"
            ]
            store.retry([sticker.id for sticker in retried])
            todo = retried + [sticker for sticker in stickers if sticker.id not in store.done]
            anything = bool(todo or recovered)
            taken = set()
            for row in _reusable(config, manifest, pack, todo):
                store.add(row)
                taken.add(row["sticker_id"])
            resumed = len(stickers) - len(todo)
            todo = [sticker for sticker in todo if sticker.id not in taken]
            progress = Progress(len(stickers), resumed, recovered, len(taken))
            if todo:
                with _stop_on_sigterm():
                    _work(config, pack, todo, lambda: start(source, config), store, progress)
        have = rows_there(config.out, manifest["fingerprint"])
        if missing := [sticker.id for sticker in stickers if sticker.id not in have]:
            # Never seen; should it happen, nobody is to learn of it from the trainer.
            raise ValueError(
                f"{len(missing)} of {len(stickers)} stickers have no row, the first is {missing[0]!r}: "
                "start the same command again"
            )
        stats = finish_run(config, manifest, corpus, progress, write=anything)
    if config.strict and stats["failed"]:
        raise ValueError(f"{stats['failed']} stickers failed: see them with `mghft failed {config.out}`")
    return stats


def _reusable(
    config: DescribeConfig, manifest: dict[str, Any], pack: PromptPack, todo: list[Sticker]
) -> Iterator[Row]:
    """Rows of earlier runs for stickers to be described; says in a sentence when a folder has none."""
    if not (config.reuse and todo):
        return
    runs, notes = matching_runs(config.reuse, manifest, config.out)
    for note in notes:
        say(note)
    yield from reused_rows(runs, todo, pack, config.data, embed=config.embed_images)


def chosen_stickers(config: DescribeConfig, corpus: Corpus) -> list[Sticker]:
    """The stickers that a configuration chooses, in the order of the corpus."""
    stickers = list(corpus.stickers) if config.split is None else corpus.split(config.split)
    stickers = select(
        stickers,
        where=config.where,
        ids=config.ids,
        per_class=config.per_class,
        sample=config.sample,
        seed=config.seed,
        limit=config.limit,
    )
    if config.worker_numbers is not None:
        stickers = [sticker for sticker in stickers if _belongs(sticker.id, config.worker_numbers)]
    return stickers


def _belongs(sticker_id: str, part: tuple[int, int]) -> bool:
    """Shares by a hash of the id, so that a growing corpus does not move stickers between processes."""
    number = int.from_bytes(hashlib.sha256(sticker_id.encode("utf-8", "surrogateescape")).digest()[:8])
    return number % part[1] == part[0] - 1


def _work(
    config: DescribeConfig,
    pack: PromptPack,
    todo: list[Sticker],
    start: Callable[[], Engine],
    store: RunStore,
    progress: Progress,
) -> None:
    began = time.monotonic()
    with open_scheduler(config, pack, start) as feed, progress:
        progress.engine_is_up(time.monotonic() - began)
        with closing(feed.rows(todo)) as finished:
            for rows in finished:
                for row in rows:
                    store.add(row)
                progress.advance(rows)


class _Embed:
    """Adds the image to a row that comes from a journal, which holds none."""

    def __init__(self, config: DescribeConfig, corpus: Corpus) -> None:
        self._root = config.data
        self._paths = {sticker.id: sticker.path for sticker in corpus.stickers}

    def __call__(self, row: Row) -> bool:
        row["image"] = None
        try:
            content = read_image(self._root, self._paths.get(row["sticker_id"], ""))
        except ImageError:
            return row["image_sha256"] is None
        row["image"] = {"bytes": content, "path": row["path"]}
        return bool(hashlib.sha256(content).hexdigest() == row["image_sha256"])


class _stop_on_sigterm:  # noqa: N801 - a context manager reads like a function
    """SIGTERM (a scheduler's polite stop) ends the run as Ctrl-C does: finished rows are written."""

    def __enter__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _raise(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt
