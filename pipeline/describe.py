"""The describe run: every sticker of a selection gets exactly one row, whatever happens on the way.

Decoding runs ahead of the engine in threads, shards are written behind it by another thread; two windows of
images are in memory. Rows are joined to stickers by id.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import Image

from pipeline.cards import load_card
from pipeline.config import DescribeConfig, build_describe_config
from pipeline.corpus import Sticker, load_corpus, select
from pipeline.engines import Answer, Engine, Request
from pipeline.images import ImageError, ImageTransform, decode_bytes, read_image
from pipeline.manifest import RunLocked, build_manifest, lock_run, open_run
from pipeline.models import ModelSource, find_model
from pipeline.progress import Progress
from pipeline.prompts import PromptPack, load_pack
from pipeline.shards import (
    FINGERPRINT_KEY,
    iterate_shards,
    next_shard_path,
    read_shard,
    remove_leftovers,
    write_shard,
)
from pipeline.status import finish_run
from pipeline.views import VIEWS, ViewError, parse_view, parse_views, views_schema
from pipeline.vllm_engine import VllmEngine, vllm_version

__all__ = ["DescribeConfig", "RunLocked", "build_describe_config", "describe"]

Row = dict[str, Any]
# A second try at temperature 0 would repeat the first word for word.
_RETRY_TEMPERATURE = 0.7


def describe(
    config: DescribeConfig,
    *,
    start_engine: Callable[[ModelSource, DescribeConfig], Engine] | None = None,
) -> dict[str, Any]:
    """Describes the chosen stickers of a corpus into the folder `config.out`; goes on where a run stopped.

    Args:
        config: the run; the same folder takes only the same content-deciding choices (see `manifest`).
        start_engine: makes the engine when there is work; None starts vLLM.

    Returns:
        The run's statistics, as in its stats.json.

    Raises:
        FileNotFoundError: data, card, prompt pack or model is not there.
        ValueError: bad input, another run in the folder, or (`strict`) failed rows.
        RunLocked: another process writes to the folder.
        KeyboardInterrupt: asked to stop; finished rows are written first.
    """
    card = load_card(config.card)
    corpus = load_corpus(card, config.data)
    stickers = list(corpus.stickers) if config.split is None else corpus.split(config.split)
    stickers = select(stickers, limit=config.limit, sample=config.sample, seed=config.seed, ids=config.ids)
    if config.part_numbers is not None:
        stickers = [sticker for sticker in stickers if _belongs(sticker.id, config.part_numbers)]
    pack = load_pack(config.prompt)
    source = find_model(config.model, config.revision)
    engine_facts = {
        "name": "vllm",
        "version": vllm_version(),
        "dtype": config.vllm.dtype,
        "max_model_len": config.vllm.max_model_len,
    }
    manifest = build_manifest(config, corpus, pack, source, engine_facts)
    config.out.mkdir(parents=True, exist_ok=True)
    with lock_run(config.out, config.part_numbers):
        remove_leftovers(config.out, config.part_numbers)
        open_run(config.out, manifest, alone=config.part_numbers is None)
        done = _rows_there(config.out, manifest["fingerprint"])
        retries = _failed_rows(config.out, stickers, done) if config.retry_failed else []
        new = [sticker for sticker in stickers if sticker.id not in done]
        todo = [sticker for _, batch in retries for sticker in batch] + new
        run = _Run(config, pack, manifest["fingerprint"], Progress(len(stickers), len(stickers) - len(todo)))
        if todo:
            began = time.monotonic()
            engine = (start_engine or _start_vllm)(source, config)
            run.progress.engine_seconds = time.monotonic() - began
            with _stop_on_sigterm():
                run.work(engine, retries, new)
        stats = finish_run(config.out, manifest, corpus, run.progress, config.part_numbers, write=bool(todo))
    if config.strict and stats["failed"]:
        raise ValueError(f"{stats['failed']} stickers failed: see them with `mghft failed {config.out}`")
    return stats


@dataclass
class _Run:
    """One process' work on a run folder."""

    config: DescribeConfig
    pack: PromptPack
    fingerprint: str
    progress: Progress

    def work(
        self, engine: Engine, retries: Sequence[tuple[Path, list[Sticker]]], new: Sequence[Sticker]
    ) -> None:
        """Retried rows replace the failed ones inside their shard, new rows make new shards."""
        todo = [sticker for _, batch in retries for sticker in batch] + list(new)
        with (
            ThreadPoolExecutor(self.config.decode_workers, "decode") as decoders,
            ThreadPoolExecutor(1, "write") as writer,
            self.progress,
        ):
            rows = self._rows(engine, todo, decoders)
            for path, batch in retries:
                _replace_rows(
                    path, list(islice(rows, len(batch))), self.fingerprint, self.config.embed_images
                )
            pending: list[Row] = []
            written: Future[None] | None = None
            try:
                for row in rows:
                    pending.append(row)
                    if len(pending) >= self.config.shard_rows:
                        if written is not None:
                            written.result()
                        written = writer.submit(self._write, pending)
                        pending = []
            finally:
                # Also on Ctrl-C or a dead engine: what is finished is not asked for again.
                if written is not None:
                    written.result()
                if pending:
                    self._write(pending)

    def _write(self, rows: list[Row]) -> None:
        path = next_shard_path(self.config.out, self.config.part_numbers)
        write_shard(path, rows, self.fingerprint, images=self.config.embed_images)

    def _rows(
        self, engine: Engine, stickers: Sequence[Sticker], decoders: ThreadPoolExecutor
    ) -> Iterator[Row]:
        """Rows in the order of the stickers, a window at a time, the next window being decoded meanwhile."""
        size = self.config.window
        windows = [stickers[start : start + size] for start in range(0, len(stickers), size)]
        ahead = [self._decode(window, decoders) for window in windows[:1]]
        for number, window in enumerate(windows):
            ahead += [self._decode(following, decoders) for following in windows[number + 1 : number + 2]]
            loaded = [future.result() for future in ahead.pop(0)]
            rows = self._describe_window(engine, window, loaded)
            self.progress.advance(rows)
            yield from rows

    def _decode(self, window: Sequence[Sticker], decoders: ThreadPoolExecutor) -> list[Future[_Loaded]]:
        return [
            decoders.submit(_load, self.config.data, sticker, self.config.image, self.config.embed_images)
            for sticker in window
        ]

    def _describe_window(
        self, engine: Engine, window: Sequence[Sticker], loaded: Sequence[_Loaded]
    ) -> list[Row]:
        rows = {
            sticker.id: _start_row(sticker, load, self.config.embed_images)
            for sticker, load in zip(window, loaded, strict=True)
        }
        images = {
            sticker.id: load.image
            for sticker, load in zip(window, loaded, strict=True)
            if load.image is not None
        }
        open_stickers = [sticker for sticker in window if sticker.id in images]
        for attempt in range(self.config.attempts):
            requests = [
                request
                for sticker in open_stickers
                for request in self._requests(sticker, images[sticker.id], attempt)
            ]
            answers: dict[str, Answer] = {}
            for request in requests:
                engine.submit(request)
            while len(answers) < len(requests):
                answers.update((answer.key, answer) for answer in engine.collect())
            for sticker in open_stickers:
                self._fill(rows[sticker.id], sticker, answers)
            open_stickers = [sticker for sticker in open_stickers if rows[sticker.id]["status"] == "failed"]
            if not open_stickers:
                break
        return [rows[sticker.id] for sticker in window]

    def _requests(self, sticker: Sticker, image: Image.Image, attempt: int) -> list[Request]:
        sampling = self.pack.sampling
        if attempt:
            sampling = sampling.model_copy(
                update={
                    "seed": sampling.seed + attempt,
                    "temperature": sampling.temperature or _RETRY_TEMPERATURE,
                }
            )
        asked: list[tuple[str | None, tuple[str, ...]]] = (
            [(None, VIEWS)] if self.pack.mode == "joint" else [(view, (view,)) for view in VIEWS]
        )
        return [
            Request(
                key=f"{view or ''}\n{sticker.id}",
                image=image,
                image_id=sticker.id,
                system=self.pack.system,
                user=self.pack.render(sticker, view),
                schema=views_schema(keys),
                sampling=sampling,
            )
            for view, keys in asked
        ]

    def _fill(self, row: Row, sticker: Sticker, answers: Mapping[str, Answer]) -> None:
        """Judges the answers to one sticker; sets the views and `ok`, or `failed` with the reason."""
        names = [""] if self.pack.mode == "joint" else list(VIEWS)
        parts = {name: answers.get(f"{name}\n{sticker.id}") for name in names}
        found = [part for part in parts.values() if part is not None]
        row["prompt_tokens"] = sum(part.prompt_tokens for part in found)
        # Tokens of failed attempts were generated too.
        row["output_tokens"] = (row["output_tokens"] or 0) + sum(part.output_tokens for part in found)
        texts = {name: part.text for name, part in parts.items() if part is not None}
        raw = texts.get("", "") if names == [""] else json.dumps(texts, ensure_ascii=False)
        row["raw"] = raw.encode("utf-8", "replace").decode("utf-8")
        row["finish_reason"] = next((p.finish_reason for p in found if p.finish_reason != "stop"), "stop")
        try:
            views: dict[str, str] = {}
            for name, part in parts.items():
                if part is None:
                    raise ViewError("the engine gave no answer")
                if part.error is not None:
                    raise ViewError(part.error)
                if name:
                    views[name] = parse_view(part.text, part.finish_reason, name)
                else:
                    views = parse_views(part.text, part.finish_reason)
        except ViewError as error:
            row.update(status="failed", error=str(error))
        else:
            row.update(views, status="ok", error=None)


@dataclass(frozen=True)
class _Loaded:
    """A sticker's image, or why there is none."""

    image: Image.Image | None
    sha256: str | None
    content: bytes | None
    error: str | None = None


def _load(root: Path, sticker: Sticker, transform: ImageTransform, keep: bool) -> _Loaded:
    content = None
    try:
        content = read_image(root, sticker.path)
        image = decode_bytes(content, transform)
    except ImageError as error:
        sha256 = None if content is None else hashlib.sha256(content).hexdigest()
        return _Loaded(None, sha256, content if keep else None, str(error))
    return _Loaded(image, hashlib.sha256(content).hexdigest(), content if keep else None)


def _start_row(sticker: Sticker, loaded: _Loaded, embed: bool) -> Row:
    row: Row = {
        "sticker_id": sticker.id,
        "image_sha256": loaded.sha256,
        "path": sticker.path,
        "split": sticker.split,
        "label": sticker.label,
        "label_name": sticker.label_name,
        "text": sticker.text,
        "status": "failed",
        "error": loaded.error,
        "finish_reason": "error",
        "prompt_tokens": 0,
        "output_tokens": 0,
        "raw": None,
    }
    if embed:
        row["image"] = None if loaded.content is None else {"bytes": loaded.content, "path": sticker.path}
    return row


def _belongs(sticker_id: str, part: tuple[int, int]) -> bool:
    """Shares by a hash of the id, so that a growing corpus does not move stickers between processes."""
    number = int.from_bytes(hashlib.sha256(sticker_id.encode("utf-8", "surrogateescape")).digest()[:8])
    return number % part[1] == part[0] - 1


def _rows_there(folder: Path, fingerprint: str) -> dict[str, str]:
    """Status by id of every row in the folder.

    Raises:
        ValueError: a shard is damaged or of another run, or a sticker stands twice.
    """
    done: dict[str, str] = {}
    for path, table in iterate_shards(folder, ["sticker_id", "status"]):
        if (table.schema.metadata or {}).get(FINGERPRINT_KEY) != fingerprint.encode():
            raise ValueError(f"the shard {path} belongs to another run: move it out of the folder")
        for sticker_id, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if sticker_id in done:
                raise ValueError(
                    f"the sticker {sticker_id!r} stands twice in {folder}: look with `mghft verify`"
                )
            done[sticker_id] = status
    return done


def _failed_rows(
    folder: Path, stickers: Sequence[Sticker], done: Mapping[str, str]
) -> list[tuple[Path, list[Sticker]]]:
    """Failed stickers of the selection by the shard that holds their row, in the shard's order."""
    wanted = {sticker.id: sticker for sticker in stickers if done.get(sticker.id) == "failed"}
    found = [
        (path, [wanted[i] for i in table.column("sticker_id").to_pylist() if i in wanted])
        for path, table in iterate_shards(folder, ["sticker_id"])
    ]
    return [(path, batch) for path, batch in found if batch]


def _replace_rows(path: Path, rows: Sequence[Row], fingerprint: str, images: bool) -> None:
    """Writes a shard anew with some of its rows replaced: at every instant each sticker has one row."""
    fresh = {row["sticker_id"]: row for row in rows}
    merged = [fresh.get(row["sticker_id"], row) for row in read_shard(path).to_pylist()]
    write_shard(path, merged, fingerprint, images=images)


def _start_vllm(source: ModelSource, config: DescribeConfig) -> Engine:
    return VllmEngine(source, config.vllm, trust_remote_code=config.trust_remote_code)


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
