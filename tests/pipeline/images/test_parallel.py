"""Images are looked at in processes: order, crashes, broken jobs; headers do where the end is there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from mghft.pipeline.audit.check import check_corpus, glance, inspect
from mghft.pipeline.corpora.card import Card, Columns
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.images import parallel as module
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.header import read_header
from mghft.pipeline.images.parallel import map_images

JOB = "odd_jobs:odd_job"


def test_answers_come_in_the_order_of_the_paths_from_other_processes():
    paths = [f"{number}\udcff\n" for number in range(200)]
    answers = map_images(Path("/r"), paths, JOB, workers=2)
    assert [answer["path"] for answer in answers] == paths
    assert {answer["root"] for answer in answers} == {"/r"}
    assert os.getpid() not in {answer["pid"] for answer in answers}


def test_an_image_that_ends_its_process_costs_its_own_answer():
    paths = [*map(str, range(40)), "crash", *map(str, range(40, 80)), "crash"]
    answers = map_images(Path(), paths, JOB, workers=2)
    crashed = [number for number, answer in enumerate(answers) if "error" in answer]
    assert crashed == [40, 81]
    assert answers[40] == {"error": "the image makes the decoder crash"}
    assert [answer["path"] for answer in answers if "path" in answer] == [*map(str, range(80))]


def test_an_image_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 5.0)
    answers = map_images(Path(), ["a", "hang", "b"], JOB, workers=1)
    assert answers[1] == {"error": "the image takes longer than 5 s to decode"}
    assert (answers[0]["path"], answers[2]["path"]) == ("a", "b")


def test_what_a_library_prints_is_no_answer():
    assert [answer["path"] for answer in map_images(Path(), ["noise", "a"], JOB, workers=1)] == ["noise", "a"]


def test_a_broken_job_is_no_bad_image():
    with pytest.raises(RuntimeError, match="reading images failed: KeyError: 'no such thing'"):
        map_images(Path(), ["a", "broken"], JOB, workers=1)


def test_a_process_that_does_not_start_is_said():
    with pytest.raises(RuntimeError, match=r"does not start \(job no\.such:job\)"):
        map_images(Path(), ["a"], "no.such:job", workers=1)


def test_long_paths_do_not_block_the_pipes():
    paths = [f"{number:03d}" + "ü" * 4000 for number in range(100)]
    assert [answer["path"] for answer in map_images(Path(), paths, JOB, workers=1)] == paths


def test_progress_counts_every_image_in_the_callers_thread():
    seen = []
    map_images(Path(), [str(n) for n in range(50)], JOB, workers=2, progress=lambda *now: seen.append(now))
    assert seen == [(n, 50) for n in range(1, 51)]


def test_no_process_is_left_behind_when_the_caller_stops():
    pids = set()

    def stop(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_images(Path(), [str(n) for n in range(500)], JOB, workers=2, progress=stop)
    for answer in map_images(Path(), ["a"], JOB, workers=1):
        pids.add(answer["pid"])
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [
        Path(f"/proc/{child}/cmdline").read_bytes() for child in children if Path(f"/proc/{child}").exists()
    ]
    assert not [command for command in commands if b"mghft.pipeline.images.parallel" in command]


# ---- headers


@pytest.fixture
def noise():
    return Image.effect_noise((64, 48), 90).convert("RGB")


def saved(image, path, **options):
    image.save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_header_tells_format_size_and_that_the_file_is_whole(noise, tmp_path, form):
    content = saved(noise, tmp_path / "a", format=form)
    header = read_header(content)
    assert (header.format, header.width, header.height, header.whole) == (form, 64, 48, True)
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    assert "damaged or truncated" in glance(tmp_path, "cut")["error"]


def test_header_tells_animation_and_transparency(tmp_path):
    frames = [Image.new("RGBA", (8, 8), (40 * n, 0, 0, 128)) for n in range(3)]
    moving = read_header(saved(frames[0], tmp_path / "a.png", save_all=True, append_images=frames[1:]))
    assert (moving.animated, moving.transparent, moving.mode) == (True, True, "RGBA")
    still = read_header(saved(Image.new("RGB", (8, 8)), tmp_path / "b.png"))
    assert (still.animated, still.transparent, still.mode) == (False, False, "RGB")


def test_header_of_a_bomb_or_of_no_image_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="the file is no image that can be read"):
        read_header(b"no picture")
    with pytest.raises(ImageError, match="the limit is 100 pixels"):
        read_header(saved(Image.new("1", (90, 90)), tmp_path / "a.png"), max_pixels=100)


def test_glance_finds_what_is_cut_and_inspect_also_damage_in_the_middle(noise, tmp_path):
    content = saved(noise, tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes(content[:-40])
    middle = bytearray(content)
    middle[len(content) // 2 : len(content) // 2 + 9] = b"\0" * 9
    (tmp_path / "middle.png").write_bytes(middle)
    judged = {
        name: (glance(tmp_path, name), inspect(tmp_path, name))
        for name in ("whole.png", "cut.png", "middle.png")
    }
    assert [tuple(bool(one["error"]) for one in both) for both in judged.values()] == [
        (False, False),
        (True, True),
        (False, True),
    ]
    assert judged["whole.png"][0]["sha256"] == hashlib.sha256(content).hexdigest()


def test_glance_opens_no_pixel_of_a_whole_file(noise, tmp_path, monkeypatch):
    saved(noise, tmp_path / "a.png")

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("mghft.pipeline.audit.check.decode_bytes", refuse)
    assert glance(tmp_path, "a.png")["error"] is None
    with pytest.raises(AssertionError, match="decoded"):
        inspect(tmp_path, "a.png")


# ---- the check of a corpus in processes


def card(adapter="table"):
    table = {"file": "a.csv", "columns": Columns(path="path", label="label", split="split")}
    return Card(
        name="mine",
        title="Mine",
        adapter=adapter,
        labels=("anger", "joy"),
        source="mine.md",
        **(table if adapter == "table" else {}),
    )


@pytest.mark.parametrize("fast", [False, True])
def test_check_in_processes_finds_what_the_check_in_this_one_finds(noise, tmp_path, fast):
    rows = ["path,label,split"]
    for number in range(30):
        noise.putpixel((0, 0), (number, 0, 0))
        saved(noise, tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'joy' if number % 2 else 'anger'},{'test' if number % 3 else 'train'}")
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "3.png").write_bytes((tmp_path / "4.png").read_bytes())
    (tmp_path / "5.png").write_bytes(b"nothing")
    here = check_corpus(card(), tmp_path, workers=0, fast=fast)
    assert check_corpus(card(), tmp_path, workers=2, fast=fast) == here
    assert len(here.problems) == 2


@pytest.mark.parametrize("adapter", ["table", "folder"])
def test_a_corpus_of_unreadable_files_is_listed_without_opening_one(tmp_path, monkeypatch, adapter):
    rows = ["path,label,split"]
    for number in range(6):
        path = tmp_path / ("joy" if number % 2 else "anger") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no image")
        rows.append(f"{path.relative_to(tmp_path).as_posix()},{path.parent.name},train")
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    opened = []
    real = Path.open

    def watched(self, *arguments, **options):
        opened.append(self.suffix)
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was opened"))
    assert len(load_corpus(card(adapter), tmp_path).stickers) == 6
    assert ".png" not in opened
