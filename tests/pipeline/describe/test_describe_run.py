"""The describe run with an engine whose answers are known: rows, resume, refusals."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from describe_bench import KnownEngine, config, make_corpus, problems, rows, run

from mghft.pipeline.engines.base import RequestKey, Response
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.shards import SCHEMA, read_descriptions, shard_paths
from mghft.pipeline.runs.status import failed_rows, run_status

BENCH = Path(__file__).parents[1] / "support" / "describe_bench.py"
KEY = RequestKey("of the request")


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


def test_every_sticker_gets_its_own_text(card, tmp_path):
    stats = run(config(card, tmp_path / "out"))
    found = rows(tmp_path / "out")
    assert stats["ok"] == len(found) == 40
    for name, row in found.items():
        assert row["content"] == f"content of {int(Path(name).stem)}-0-128"
        assert row["label_name"] == ("dark" if int(Path(name).stem) % 2 else "bright")
    assert problems(tmp_path / "out", card) == []


def test_rows_do_not_depend_on_window_and_shard_size(card, tmp_path):
    run(config(card, tmp_path / "a", window=3, shard_rows=5))
    run(config(card, tmp_path / "b", window=64, shard_rows=100))
    a, b = (read_descriptions(tmp_path / name) for name in "ab")
    assert sorted(a.to_pylist(), key=lambda row: row["sticker_id"]) == b.sort_by("sticker_id").to_pylist()
    assert len(shard_paths(tmp_path / "a")) == 8
    assert len(shard_paths(tmp_path / "b")) == 1


def test_killed_anywhere_and_started_again_nothing_is_lost_or_repeated(card, tmp_path):
    """SIGKILL at random moments of a real process (start, between shards, while writing), then to the end."""
    run(config(card, tmp_path / "undisturbed"))
    out, moments = tmp_path / "out", random.Random()
    seed = moments.randrange(10**6)
    moments.seed(seed)
    for _ in range(5):
        child = subprocess.Popen([sys.executable, BENCH, card, out], stdout=subprocess.PIPE, cwd=Path.cwd())
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0.0, 0.25))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if out.exists():
            for path in shard_paths(out):
                pq.read_table(path)
    engine = KnownEngine()
    before = len(rows(out)) if shard_paths(out) else 0
    run(config(card, out), engine)
    assert rows(out) == rows(tmp_path / "undisturbed"), f"seed {seed}"
    assert engine.requests <= 40 - before
    assert not list(out.glob(".*.tmp"))


def test_sigterm_keeps_the_finished_rows(card, tmp_path):
    out = tmp_path / "out"

    def stop(request, text):
        if request.key.sticker_id.endswith("0009.png"):
            os.kill(os.getpid(), signal.SIGTERM)
        return text

    with pytest.raises(KeyboardInterrupt):
        run(config(card, out), KnownEngine(stop))
    kept = len(rows(out))
    assert 0 < kept < 40
    engine = KnownEngine()
    run(config(card, out), engine)
    assert engine.requests == 40 - kept


def test_a_finished_run_starts_no_engine(card, tmp_path):
    run(config(card, tmp_path / "out"))
    first = (tmp_path / "out" / "stats.json").read_bytes()
    engine = KnownEngine()
    stats = run(config(card, tmp_path / "out"), engine)
    assert engine.requests == 0
    assert stats["rows"] == stats["resumed"] == 40
    assert (tmp_path / "out" / "stats.json").read_bytes() == first


def test_new_stickers_are_new_work(card, tmp_path):
    run(config(card, tmp_path / "out"))
    make_corpus(card.parent, 45)
    engine = KnownEngine()
    run(config(card, tmp_path / "out"), engine)
    assert engine.requests == 5
    assert problems(tmp_path / "out", card) == []


def test_another_configuration_is_refused_naming_every_difference(card, tmp_path):
    run(config(card, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"prompt\.name is 'multiview' there and 'per-view' here") as refusal:
        run(config(card, tmp_path / "out", prompt="per-view", attempts=2))
    assert "attempts is 1 there and 2 here" in str(refusal.value)


def test_window_and_shard_size_may_differ(card, tmp_path):
    run(config(card, tmp_path / "out", limit=10))
    assert run(config(card, tmp_path / "out", window=7, shard_rows=3))["rows"] == 40


def test_a_damaged_manifest_is_said_and_nothing_is_written(card, tmp_path):
    run(config(card, tmp_path / "out", limit=10))
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"temperature": 0.0', '"temperature": 0.9'))
    with pytest.raises(ValueError, match="damaged or was changed"):
        run(config(card, tmp_path / "out"))
    assert len(rows(tmp_path / "out")) == 10


def test_a_foreign_shard_is_refused(card, tmp_path):
    run(config(card, tmp_path / "a", limit=8))
    run(config(card, tmp_path / "b", limit=8, attempts=2))
    shard = shard_paths(tmp_path / "b")[0]
    shard.rename(tmp_path / "a" / "descriptions-00007.parquet")
    with pytest.raises(ValueError, match="belongs to another run"):
        run(config(card, tmp_path / "a"))


def test_one_writer_for_a_folder(card, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with lock_run(out, None), pytest.raises(RunLockedError, match=f"in use by process {os.getpid()} on"):
        run(config(card, out))
    assert run(config(card, out))["rows"] == 40


def test_processes_with_shares_fill_one_folder(card, tmp_path):
    for worker in ("1/3", "3/3", "2/3"):
        run(config(card, tmp_path / "out", worker=worker))
    assert problems(tmp_path / "out", card) == []
    assert {path.name.split("-")[1] for path in shard_paths(tmp_path / "out")} == {"1of3", "2of3", "3of3"}


def test_bad_stickers_cost_one_row_each(card, tmp_path):
    images = card.parent / "images"
    (images / "0003.png").write_bytes(b"no image")
    (images / "0004.png").unlink()
    (images / "0005.png").write_bytes((images / "0006.png").read_bytes()[:-30])
    stats = run(config(card, tmp_path / "out"))
    reasons = dict(failed_rows(tmp_path / "out"))
    assert stats["ok"] == 37
    assert sorted(reasons) == ["images/0003.png", "images/0004.png", "images/0005.png"]
    assert reasons["images/0004.png"] == "the file is missing"
    assert problems(tmp_path / "out", card) == []


def test_a_whole_window_of_bad_stickers_does_not_end_the_run(card, tmp_path):
    for number in range(4, 16):
        (card.parent / "images" / f"{number:04d}.png").unlink()
    stats = run(config(card, tmp_path / "out", window=4))
    assert (stats["ok"], stats["failed"]) == (28, 12)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Response(KEY, '{"content": "a', "length"), "token limit"),
        (Response(KEY, "a cat", "stop"), "no valid JSON"),
        (Response(KEY, '{"content": "a cat"}', "stop"), "lacks the view style"),
        (Response(KEY, error="the engine refused the request: too long"), "too long"),
    ],
)
def test_a_bad_answer_is_a_failed_row_with_its_reason(card, tmp_path, answer, reason):
    def change(request, text):
        bad = request.key.sticker_id.endswith("0002.png")
        return Response(**{**answer.__dict__, "key": request.key}) if bad else text

    assert run(config(card, tmp_path / "out"), KnownEngine(change))["failed"] == 1
    assert reason in dict(failed_rows(tmp_path / "out"))["images/0002.png"]


def test_retry_failed_replaces_the_failed_rows_and_no_others(card, tmp_path):
    def change(request, text):
        return "nothing" if int(request.key.sticker_id[-8:-4]) % 7 == 3 else text

    run(config(card, tmp_path / "out"), KnownEngine(change))
    assert run_status(tmp_path / "out")["failed"] == 6
    engine = KnownEngine()
    assert run(config(card, tmp_path / "out"), engine)["failed"] == 6
    assert engine.requests == 0
    assert run(config(card, tmp_path / "out", retry_failed=True), engine)["failed"] == 0
    assert engine.requests == 6
    run(config(card, tmp_path / "undisturbed"))
    assert rows(tmp_path / "out") == rows(tmp_path / "undisturbed")
    assert len(shard_paths(tmp_path / "out")) == 5


def test_attempts_ask_again_with_another_seed(card, tmp_path):
    seeds = []

    def change(request, text):
        seeds.append((request.sampling.seed, request.sampling.temperature))
        return text if request.sampling.seed == 2 else "nothing"

    stats = run(config(card, tmp_path / "out", limit=1, attempts=4), KnownEngine(change))
    assert stats["ok"] == 1
    assert seeds == [(0, 0.0), (1, 0.7), (2, 0.7)]


def test_per_view_asks_once_for_each_view(card, tmp_path):
    engine = KnownEngine()
    run(config(card, tmp_path / "out", prompt="per-view", limit=3), engine)
    assert engine.requests == 12
    assert rows(tmp_path / "out")["images/0001.png"]["details"] == "details of 1-0-128"


def test_strict_makes_failed_rows_an_error(card, tmp_path):
    (card.parent / "images" / "0003.png").unlink()
    with pytest.raises(ValueError, match="1 sticker failed"):
        run(config(card, tmp_path / "out", strict=True))
    assert len(rows(tmp_path / "out")) == 40


def test_one_text_for_most_stickers_is_warned_of(card, tmp_path):
    same = '{"content": "a cat", "style": "flat", "intention": "greet", "details": "%s"}'
    run(config(card, tmp_path / "out"), KnownEngine(lambda request, _: same % request.key.sticker_id[-8:-4]))
    status = run_status(tmp_path / "out")
    assert status["distinct_texts"] == {"content": 1, "style": 1, "intention": 1, "details": 40}
    # One of the stand-in, of which more in the tests of words.
    assert len([one for one in status["warnings"] if "stand-in" not in one]) == 3


def test_datasets_reads_the_folder_with_its_images(card, tmp_path):
    run(config(card, tmp_path / "out", embed_images=True))
    data = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == 40
    assert data[3]["image"].size == (24, 24)
    number = int(data[3]["sticker_id"][-8:-4])
    assert data[3]["style"] == f"style of {number}-0-128"
    assert data[3]["image"].getpixel((0, 0)) == (number, 0, 128)


def test_datasets_reads_the_shards_by_name_without_help(card, tmp_path):
    (card.parent / "images" / "0003.png").unlink()
    run(config(card, tmp_path / "out"))
    files = str(tmp_path / "out" / "descriptions-*.parquet")
    data = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert data.column_names == SCHEMA.names
    assert data[:] == read_descriptions(tmp_path / "out").to_pydict()


def test_verify_finds_what_is_missing(card, tmp_path):
    run(config(card, tmp_path / "out"))
    shard_paths(tmp_path / "out")[1].unlink()
    (problem,) = problems(tmp_path / "out", card)
    assert problem.startswith("8 of 40 stickers have no row, the first is 'images/00")
