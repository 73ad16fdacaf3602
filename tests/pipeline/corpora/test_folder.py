"""Folders as people's tools leave them: pictures without a suffix, a folder too many above the classes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from mghft.pipeline.corpora.card import Card, load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.images.kinds import begins_as_image, is_image_file


def draw(path: Path, form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (len(path.name), 3, 9)).save(path, form)


def load(root: Path, labels: tuple[str, ...] = ()):
    card = load_card("folder")
    if labels:
        card = Card(name="mine", title="Mine", adapter="folder", labels=labels, source="mine.md")
    return load_corpus(card, root)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "PPM", "AVIF"])
def test_picture_without_a_suffix_is_taken_by_its_content(tmp_path: Path, form: str) -> None:
    draw(tmp_path / "joy" / "smile", form)
    draw(tmp_path / "anger" / "a.png")
    corpus = load(tmp_path)
    assert [one.id for one in corpus.stickers] == ["anger/a.png", "joy/smile"]
    assert "1 file without a suffix taken, images by their content: joy/smile" in corpus.notes


@pytest.mark.parametrize("name", ["Mr. Bean", "v1.2", "sticker 10.", "a.long suffix", "2024.05.01"])
def test_dot_in_a_name_is_no_suffix(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "joy" / name)
    draw(tmp_path / "anger" / "a.png")
    assert len(load(tmp_path).stickers) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BMW drives\n" * 9,
        b"P6 is a street in a town",
        b"PK\x03\x04",
        b"RIFF\0\0\0\0WAVE",
        b"\0\0\0\x18ftypmp42",
        b"II* not",
        b"\0\0\1\0\0\0",
    ],
)
def test_other_file_without_a_suffix_is_left_out_and_counted(tmp_path: Path, content: bytes) -> None:
    draw(tmp_path / "joy" / "a.png")
    draw(tmp_path / "anger" / "a.png")
    (tmp_path / "joy" / "LICENSE").write_bytes(content)
    corpus = load(tmp_path)
    assert len(corpus.stickers) == 2
    assert any("left out, 1 file without the suffix" in n and "1 without a suffix" in n for n in corpus.notes)
    assert not begins_as_image(content)


def test_suffix_of_another_kind_is_not_looked_behind(tmp_path: Path) -> None:
    draw(tmp_path / "joy" / "a.png")
    draw(tmp_path / "anger" / "a.png")
    draw(tmp_path / "joy" / "b.psd")
    assert len(load(tmp_path).stickers) == 2


def test_what_is_no_regular_file_of_the_corpus_is_no_image(tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw(tmp_path / "outside")
    draw(root / "joy" / "inside")
    os.mkfifo(root / "joy" / "pipe")
    (root / "joy" / "out").symlink_to(tmp_path / "outside")
    (root / "joy" / "in").symlink_to("inside")
    (root / "joy" / "self").symlink_to("self")
    names = ("inside", "in", "pipe", "out", "self", "gone", "nul\0")
    assert [name for name in names if is_image_file(root, f"joy/{name}")] == ["inside", "in"]


def test_corpus_in_a_folder_of_its_own_names_it(tmp_path: Path) -> None:
    for label in ("joy", "anger"):
        draw(tmp_path / "stickers" / label / "a.png")
    with pytest.raises(ValueError, match="all lie in one folder, 'stickers'") as refused:
        load(tmp_path)
    assert f"if anger, joy in it are the classes or splits, give --data {tmp_path}/stickers" in str(
        refused.value
    )
    assert len(load(tmp_path / "stickers").stickers) == 2


def test_folder_taken_for_a_split_by_a_card_with_labels_is_said(tmp_path: Path) -> None:
    for label in ("joy", "anger"):
        draw(tmp_path / "stickers" / label / "a.png")
    corpus = load(tmp_path, ("joy", "anger"))
    assert {one.split for one in corpus.stickers} == {"stickers"}
    assert any(
        "1 folder above the classes taken for splits though not named so: stickers: "
        f"give --data {tmp_path}/stickers" in note
        for note in corpus.notes
    )


def test_all_images_deeper_than_the_classes_are_said(tmp_path: Path) -> None:
    for pack in ("pack-1", "pack-2"):
        for label in ("joy", "anger"):
            draw(tmp_path / pack / label / "a.png")
    corpus = load(tmp_path)
    assert corpus.card.labels == ("pack-1", "pack-2")
    (note,) = [note for note in corpus.notes if "deeper" in note]
    assert "(pack-1/anger/a.png)" in note and f"give one of them with --data, as {tmp_path}/pack-1" in note


def test_usual_layouts_get_no_note_on_depth(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("joy", "anger"):
            draw(tmp_path / "a" / split / label / "a.png")
            draw(tmp_path / "b" / label / f"{split}.png")
            draw(tmp_path / "b" / label / "pack" / f"{split}.png")
    for corpus in (load(tmp_path / "a"), load(tmp_path / "b"), load(tmp_path / "a", ("joy", "anger"))):
        assert not [note for note in corpus.notes if "deeper" in note or "above the classes" in note]
