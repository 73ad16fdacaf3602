"""Images are looked at in processes: answers in order, images that end their process, broken jobs."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest
from odd_jobs import odd_job

from mghft.pipeline.images import worker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.parallel import map_images
from mghft.pipeline.images.pool import WorkerStartError


def look(paths, workers=1, **options):
    return map_images(Path("/r"), paths, odd_job, workers=workers, **options)


def paths_of(answers):
    return [str(one) if isinstance(one, ImageError) else one["path"] for one in answers]


def test_answers_come_in_the_order_of_the_paths_from_other_processes():
    paths = [f"{number}\udcff\n" for number in range(200)]
    answers = look(paths, workers=2)
    assert [answer["path"] for answer in answers] == paths
    assert {answer["root"] for answer in answers} == {"/r"}
    assert os.getpid() not in {answer["pid"] for answer in answers}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_used_is_an_error_in_its_place(workers):
    assert paths_of(look(["a", "bad", "b"], workers)) == ["a", "the image is bad", "b"]


def test_an_image_that_ends_its_process_costs_its_own_answer():
    paths = ["crash", *map(str, range(40)), "crash", *map(str, range(40, 80)), "crash"]
    answers = paths_of(look(paths, workers=2))
    crashed = "the image makes the decoder crash"
    assert answers == [crashed if path == "crash" else path for path in paths]


def test_an_image_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(worker, "SECONDS", 5.0)
    assert paths_of(look(["a", "hang", "b"])) == ["a", "the image takes longer than 5 s to decode", "b"]


def test_an_image_too_large_for_the_process_costs_its_own_answer():
    answers = look(["a", "large", "b"])
    assert paths_of(answers) == ["a", "the image does not fit into memory", "b"]
    assert answers[0]["pid"] == answers[2]["pid"]


def test_what_a_library_prints_is_no_answer():
    assert paths_of(look(["noise", "a"])) == ["noise", "a"]


@pytest.mark.parametrize(
    ("path", "fault"),
    [("broken", "KeyError: 'no such thing'"), ("object", "TypeError: .* JSON serializable")],
)
def test_a_broken_job_is_no_bad_image(path, fault):
    with pytest.raises(RuntimeError, match=f"reading images failed: {fault}"):
        look(["a", path])


def test_a_process_that_does_not_start_is_said(monkeypatch):
    module = types.ModuleType("only_here")
    exec("def job(root, path): return path", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(WorkerStartError, match=r"does not start \(job only_here:job\): run `mghft doctor`"):
        map_images(Path(), ["a"], module.job, workers=1)


def job_of_a_closure():
    def job(root, path):
        return path

    return job


class Jobs:
    def method(self, root, path):
        return path


job_of_main = types.FunctionType(odd_job.__code__, {"__name__": "__main__"})


@pytest.mark.parametrize(
    "job",
    [lambda root, path: path, job_of_a_closure(), Jobs().method, job_of_main],
    ids=["lambda", "closure", "method", "main"],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_job_that_no_other_process_can_import_is_refused_at_once(job, workers):
    with pytest.raises(ValueError, match="cannot be imported by another process: give a function"):
        map_images(Path(), ["a"], job, workers=workers)


def test_long_paths_do_not_block_the_pipes():
    paths = [f"{number:03d}" + "ü" * 4000 for number in range(100)]
    assert paths_of(look(paths)) == paths


def test_progress_counts_every_image_in_the_callers_thread():
    seen = []
    look([str(n) for n in range(50)], workers=2, progress=lambda *now: seen.append(now))
    assert seen == [(n, 50) for n in range(1, 51)]


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_no_image_is_no_work(workers):
    assert look([], workers) == []


def test_no_process_is_left_behind_when_the_caller_stops():
    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look([str(n) for n in range(500)], workers=2, progress=stop)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [
        Path(f"/proc/{child}/cmdline").read_bytes() for child in children if Path(f"/proc/{child}").exists()
    ]
    assert not [command for command in commands if b"odd_jobs" in command]
