"""Images decoded in processes of their own: the same pixels, and a process that dies costs one image."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from describe_bench import KnownEngine, config, make_corpus, run
from PIL import Image

from mghft.pipeline.images import worker
from mghft.pipeline.images.load import load_image
from mghft.pipeline.images.pool import WorkerStartError
from mghft.pipeline.images.prefetch import ImagePrefetcher
from mghft.pipeline.images.transform import ImageTransform
from mghft.pipeline.runs.shards import read_descriptions
from mghft.pipeline.runs.status import failed_rows


@pytest.fixture
def root(tmp_path):
    Image.new("RGBA", (300, 200), (200, 0, 0, 128)).save(tmp_path / "a.png")
    Image.new("L", (7, 5), 90).save(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"no image")
    return tmp_path


@pytest.fixture
def pool(root):
    pool = ImagePrefetcher(root, ImageTransform(max_side=64), keep=True, workers=2)
    yield pool
    pool.close()


def same(one, other):
    pixels = [None if loaded.image is None else loaded.image.tobytes() for loaded in (one, other)]
    return pixels[0] == pixels[1] and (one.sha256, one.content, one.error) == (
        other.sha256,
        other.content,
        other.error,
    )


def test_a_process_gives_what_this_process_gives(root, pool):
    for path in ("a.png", "b.jpg", "c.png", "missing.png", "../out.png", "\udcff\n.png"):
        assert same(
            pool.result(pool.submit(path)), load_image(root, path, ImageTransform(max_side=64), True)
        ), path


def test_many_images_come_in_their_order(root, pool):
    wanted = [
        pool.submit("abc"[number % 3] + (".jpg" if number % 3 == 1 else ".png")) for number in range(100)
    ]
    sizes = [None if (image := pool.result(one).image) is None else image.size for one in wanted]
    assert sizes == [((64, 43), (7, 5), None)[number % 3] for number in range(100)]


def processes(pool):
    return [one.process for one in pool._pool.workers]


def stop(pool, count):
    """Workers that hold `count` images each and do not go on."""
    for one in [pool.submit("a.png") for _ in range(2)]:
        pool.result(one)
    for process in processes(pool):
        process.send_signal(signal.SIGSTOP)
    wanted = [pool.submit("a.png") for _ in range(2 * count)]
    pool.poll()
    return wanted


def test_a_crash_costs_one_image(pool):
    wanted = stop(pool, 5)
    for process in processes(pool):
        process.send_signal(signal.SIGKILL)
    errors = [pool.result(one).error for one in wanted]
    assert errors[:2] == ["the image makes the decoder crash"] * 2
    assert errors[2:] == [None] * 8


def test_a_process_that_dies_without_work_costs_nothing(pool):
    pool.result(pool.submit("a.png"))
    for process in processes(pool):
        process.kill()
        process.wait()
    assert [pool.result(pool.submit("a.png")).error for _ in range(4)] == [None] * 4


def test_an_image_that_never_ends_is_given_up(pool, monkeypatch):
    wanted = stop(pool, 1)
    monkeypatch.setattr(worker, "SECONDS", 0.5)
    errors = [pool.result(one).error for one in wanted]
    assert errors == ["the image takes longer than 0 s to decode"] * 2
    monkeypatch.undo()
    assert pool.result(pool.submit("a.png")).error is None


def test_polling_waits_for_nothing_and_takes_no_thread(pool):
    threads = threading.active_count()
    wanted = stop(pool, 5)
    began = time.monotonic()
    for _ in range(100):
        pool.poll()
    assert time.monotonic() - began < 1
    assert not any(map(pool.done, wanted))
    assert threading.active_count() == threads


def test_processes_that_do_not_start_are_said(root, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = ImagePrefetcher(root, ImageTransform(), workers=2)
    with pytest.raises(WorkerStartError, match=r"does not start .* run `mghft doctor`"):
        pool.result(pool.submit("a.png"))
    pool.close()


def test_close_ends_the_processes(root):
    pool = ImagePrefetcher(root, ImageTransform(), workers=2)
    found = processes(pool)
    pool.close()
    assert all(process.poll() is not None for process in found)


def test_processes_end_with_a_parent_that_was_killed(root):
    child = os.fork()
    if not child:
        pool = ImagePrefetcher(root, ImageTransform(), workers=1)
        pool.result(pool.submit("a.png"))
        (root / "pid").write_text(str(processes(pool)[0].pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    child = int((root / "pid").read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and running(child):
        time.sleep(0.05)
    assert not running(child)


def running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_module_in_the_current_folder_is_not_imported(root, monkeypatch):
    (root / "PIL.py").write_text("raise SystemExit")
    monkeypatch.chdir(root)
    pool = ImagePrefetcher(root, ImageTransform(), workers=1)
    assert pool.result(pool.submit("b.jpg")).error is None
    pool.close()


@pytest.mark.parametrize("embed", [False, True])
def test_a_run_with_processes_is_a_run_without(tmp_path, embed):
    card = make_corpus(tmp_path / "data", 30)
    (tmp_path / "data" / "images" / "0007.png").write_bytes(b"no image")
    rows = []
    for workers in (0, 2):
        out = tmp_path / f"out{workers}"
        run(config(card, out, decode_workers=workers, embed_images=embed), KnownEngine())
        rows.append({row["sticker_id"]: row for row in read_descriptions(out).to_pylist()})
        assert failed_rows(out) == [("images/0007.png", "the file is no image that can be read")]
    assert rows[0] == rows[1]
