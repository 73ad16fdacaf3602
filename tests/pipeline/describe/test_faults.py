"""What can go wrong with a run folder: each ends in a plain sentence and loses nothing."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from describe_bench import KnownEngine, config, make_corpus, rows, run

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.errors import RunLockedError
from mghft.pipeline.runs import journal, shards
from mghft.pipeline.runs.journal import Journal, read_journal
from mghft.pipeline.runs.lock import lock_run
from mghft.pipeline.runs.shards import read_descriptions, shard_paths
from mghft.pipeline.runs.status import run_status, verify_run
from mghft.pipeline.runs.worker import Worker

BENCH = Path(__file__).parents[1] / "support" / "describe_bench.py"


@pytest.fixture
def card(tmp_path):
    return make_corpus(tmp_path / "data", 40)


def finish(card, out, undisturbed):
    """Starts the same command again: nothing is missing, and what had been finished is not asked again."""
    status = run_status(out)
    engine = KnownEngine()
    run(config(card, out), engine)
    run(config(card, undisturbed))
    assert rows(out) == rows(undisturbed)
    assert verify_run(out, load_corpus(load_card(card), card.parent)) == []
    return status["rows"] + status.get("in_journal", 0), engine.requests


def full_disk(*_arguments, **_named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("shard", [1, 3])
def test_a_disk_that_is_full_when_a_shard_is_written(card, tmp_path, monkeypatch, shard):
    calls, write = [], shards.write_rows

    def sometimes(file, *arguments, **named):
        calls.append(file)
        if len(calls) >= shard:
            file.write(b"PAR1 half of it")
            full_disk()
        write(file, *arguments, **named)

    monkeypatch.setattr(shards, "write_rows", sometimes)
    with pytest.raises(OSError, match=r"No space left on device\): the rows finished before are kept; free"):
        run(config(card, tmp_path / "out"))
    monkeypatch.undo()
    kept, asked = finish(card, tmp_path / "out", tmp_path / "undisturbed")
    assert kept >= 8 * shard
    assert asked == 40 - kept


def test_a_disk_that_is_full_when_the_journal_is_written(card, tmp_path, monkeypatch):
    calls, write = [], os.write

    def sometimes(file, data):
        calls.append(data)
        if len(calls) == 13:
            write(file, data[:20])
        if len(calls) >= 13:
            full_disk()
        return write(file, data)

    monkeypatch.setattr(journal.os, "write", sometimes)
    with pytest.raises(OSError, match=r"\.rows cannot be written \(No space left"):
        run(config(card, tmp_path / "out"))
    monkeypatch.undo()
    kept, asked = finish(card, tmp_path / "out", tmp_path / "undisturbed")
    # Two lines are the journals' own headers, and the eleventh row could not be kept.
    assert kept >= 10
    assert asked == 40 - kept


@pytest.fixture
def small_disk(mount_disk):
    """A file system of 256 KiB."""
    return mount_disk("256k")


def test_a_real_full_disk(card, tmp_path, small_disk):
    command = [sys.executable, BENCH, card, small_disk / "out"]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(224 * 1024))
    failed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert failed.returncode == 1
    assert "No space left on device): the rows finished before are kept; free some space" in failed.stderr
    ballast.unlink()
    kept, asked = finish(card, small_disk / "out", tmp_path / "undisturbed")
    assert 0 < kept < 40
    assert asked == 40 - kept


def test_a_folder_that_cannot_be_written(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, limit=8))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    if os.geteuid() == 0:
        # Root ignores permissions, but not a file where the folder should be.
        with pytest.raises(FileExistsError):
            run(config(card, out / "manifest.json"))
    else:
        out.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(PermissionError):
            run(config(card, out))
        out.chmod(stat.S_IRWXU)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_read_only_file_system(card, tmp_path, small_disk):
    out = small_disk / "out"
    run(config(card, out, limit=8))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OSError, match="Read-only file system"):
        run(config(card, out))
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert finish(card, out, tmp_path / "undisturbed") == (8, 32)


def test_two_processes_on_one_folder(card, tmp_path):
    out = tmp_path / "out"
    slow = subprocess.Popen(
        [sys.executable, BENCH, card, out], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert slow.stdout is not None
    while not (out / "manifest.json").exists():
        assert slow.poll() is None
    with pytest.raises(RunLockedError, match=f"in use by process {slow.pid} on"):
        run(config(card, out))
    assert slow.wait() == 0
    slow.stdout.close()
    assert finish(card, out, tmp_path / "undisturbed") == (40, 0)


def test_other_numbers_of_workers_do_not_run_beside_each_other(card, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with lock_run(out, Worker(1, 3)), pytest.raises(RunLockedError, match="in use by process"):
        run(config(card, out, worker="1/4"))
    run(config(card, out, worker="1/4"))
    assert finish(card, out, tmp_path / "undisturbed")[1] < 40


def test_a_worker_leaves_the_journals_of_others_alone(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, worker="1/2"))
    other = Journal(out / ".descriptions-2of2-00000.rows", "some run")
    run(config(card, out, worker="1/2", retry_failed=True))
    assert other.path.exists()
    other.remove()


def test_a_truncated_foreign_file_is_named_and_touched_by_nobody(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, limit=16))
    foreign = out / "descriptions-00009.parquet"
    foreign.write_bytes(shard_paths(out)[0].read_bytes()[:-50])
    content = foreign.read_bytes()
    with pytest.raises(ValueError, match=r"descriptions-00009\.parquet cannot be read .*: move it out"):
        run(config(card, out))
    assert foreign.read_bytes() == content
    foreign.unlink()
    assert finish(card, out, tmp_path / "undisturbed") == (16, 24)


def test_files_of_other_names_are_left_alone(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, limit=16))
    (out / "other.parquet").write_bytes(b"PAR1")
    (out / "notes.txt").write_text("mine")
    assert finish(card, out, tmp_path / "undisturbed") == (16, 24)
    assert (out / "other.parquet").read_bytes() == b"PAR1"


@pytest.mark.parametrize("damage", ["", "{", '{"fingerprint": 3}', "[]", "\0\0\0\0"])
def test_a_damaged_manifest(card, tmp_path, damage):
    out = tmp_path / "out"
    run(config(card, out, limit=16))
    manifest = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(damage)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged or was changed: restore it"):
        run(config(card, out))
    (out / "manifest.json").write_text(manifest)
    assert finish(card, out, tmp_path / "undisturbed") == (16, 24)


def test_a_manifest_that_is_gone(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, limit=16))
    (out / "manifest.json").rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"holds description shards but no manifest\.json"):
        run(config(card, out))
    (tmp_path / "aside").rename(out / "manifest.json")
    assert finish(card, out, tmp_path / "undisturbed") == (16, 24)


def test_a_journal_of_another_run_is_not_taken_up(card, tmp_path):
    out = tmp_path / "out"
    run(config(card, out, limit=16))
    foreign = Journal(out / ".descriptions-00004.rows", "another run")
    foreign.append({"sticker_id": "images/0030.png", "status": "ok", "content": "a stranger"})
    foreign.close()
    finish(card, out, tmp_path / "undisturbed")


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_journal_gives_back_its_sound_rows(tmp_path, cut):
    path = tmp_path / ".descriptions-00000.rows"
    log = Journal(path, "run")
    for number in range(5):
        log.append({"sticker_id": str(number), "text": "é\n\u2028", "image": b"not kept"})
    log.close()
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_journal(path, "run") == [{"sticker_id": str(n), "text": "é\n\u2028"} for n in range(4)]


def test_a_journal_that_lost_a_block_gives_back_what_stands_before_it(tmp_path):
    path = tmp_path / ".descriptions-00000.rows"
    log = Journal(path, "run")
    for number in range(5):
        log.append({"sticker_id": str(number)})
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], bytes(len(lines[3])), *lines[4:]]))
    assert len(read_journal(path, "run")) == 2


def test_embedded_images_come_back_with_the_rows_of_a_journal(card, tmp_path):
    out, halted = tmp_path / "out", []

    def halt(request, text):
        if request.key.sticker_id.endswith("0013.png"):
            # As a kill would leave it: the shard of the journal's rows was never written.
            halted.append(shutil.copytree(out, tmp_path / "killed"))
        return text

    run(config(card, out, embed_images=True, shard_rows=64), KnownEngine(halt))
    assert halted and run_status(halted[0])["in_journal"] > 0
    (card.parent / "images" / "0008.png").write_bytes((card.parent / "images" / "0000.png").read_bytes())
    engine = KnownEngine()
    stats = run(config(card, halted[0], embed_images=True), engine)
    assert stats["recovered"] > 0
    assert stats["rows"] == 40
    assert verify_run(halted[0], load_corpus(load_card(card), card.parent)) == []
    for row in read_descriptions(halted[0]).to_pylist():
        number = int(Path(row["sticker_id"]).stem)
        assert row["content"] == f"content of {0 if number == 8 else number}-0-128"
