"""The check's look at images: by header or by all pixels, in this process or in others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mghft.pipeline.audit.check import check_corpus, check_header, check_pixels
from mghft.pipeline.corpora.card import Card, Columns, load_card
from mghft.pipeline.corpora.load import load_corpus


@pytest.fixture
def noise():
    return Image.effect_noise((64, 48), 90).convert("RGB")


def saved(image, path, **options):
    image.save(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_file_that_is_cut_is_found_by_its_header(noise, tmp_path, form):
    content = saved(noise, tmp_path / "whole", format=form)
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    assert check_header(tmp_path, "whole") == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "error": None,
        "blank": False,
    }
    assert "damaged or truncated" in check_header(tmp_path, "cut")["error"]


def test_damage_in_the_middle_is_found_by_the_pixels_alone(noise, tmp_path):
    content = bytearray(saved(noise, tmp_path / "middle.png"))
    content[len(content) // 2 : len(content) // 2 + 9] = b"\0" * 9
    (tmp_path / "middle.png").write_bytes(content)
    assert check_header(tmp_path, "middle.png")["error"] is None
    assert "damaged or truncated" in check_pixels(tmp_path, "middle.png")["error"]


def test_no_pixel_of_a_whole_file_is_decoded_for_its_header(noise, tmp_path, monkeypatch):
    saved(noise, tmp_path / "a.png")

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("mghft.pipeline.audit.check.decode_bytes", refuse)
    assert check_header(tmp_path, "a.png")["error"] is None
    with pytest.raises(AssertionError, match="decoded"):
        check_pixels(tmp_path, "a.png")


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


def test_pictures_that_show_nothing_are_a_problem(tmp_path):
    frames = [Image.new("RGBA", (32, 32), (0, 0, 0, 0)) for _ in range(3)]
    for frame in frames[1:]:
        ImageDraw.Draw(frame).ellipse((4, 4, 20, 28), fill=(255, 0, 0, 255))
    options = {"save_all": True, "append_images": frames[1:], "duration": 100}
    frames[0].save(tmp_path / "line.png", disposal=1, **options)
    frames[0].save(tmp_path / "whatsapp.webp", lossless=True, **options)
    white = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    ImageDraw.Draw(white).line((0, 0, 31, 31), fill=(255, 255, 255, 255))
    white.save(tmp_path / "white-on-nothing.png")
    ImageDraw.Draw(white).point((9, 9), fill=(0, 0, 0, 255))
    white.save(tmp_path / "a-dot.png")
    frames[1].save(tmp_path / "drawn.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    table = "path,label\n" + "".join(f"{name},{'joy' if name < 'e' else 'anger'}\n" for name in names)
    (tmp_path / "labels.csv").write_text(table)
    (problem,) = check_corpus(load_card("table"), tmp_path).problems
    assert problem.startswith("3 images show nothing but white to a model: line.png, whatsapp.webp, white-on")
    assert "--frame middle" in problem
