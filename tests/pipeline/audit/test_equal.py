"""Equal pictures under other names, other formats and other bytes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mghft.pipeline.audit.equal import equal_pictures, picture_digest
from mghft.pipeline.audit.hashes import fingerprint
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.sticker import Corpus, Sticker


def corpus(root: Path, *names: str) -> Corpus:
    return Corpus(load_card("folder"), root, [Sticker(name, name, "all") for name in names])


def test_pixels_decide_not_bytes_names_or_formats(tmp_path: Path) -> None:
    image = Image.effect_noise((20, 20), 50).convert("RGB")
    image.save(tmp_path / "a.png")
    note = PngInfo()
    note.add_text("comment", "again")
    image.save(tmp_path / "b.png", pnginfo=note)
    image.save(tmp_path / "c.bmp")
    image.save(tmp_path / "d.jpg", quality=60)
    Image.new("RGB", (10, 40)).save(tmp_path / "e.png")
    Image.new("RGB", (40, 10)).save(tmp_path / "f.png")
    names = ("a.png", "b.png", "c.bmp", "d.jpg", "e.png", "f.png")
    assert equal_pictures(corpus(tmp_path, *names), workers=0) == [["a.png", "b.png", "c.bmp"]]


def test_files_that_cannot_be_decoded_are_compared_by_their_bytes(tmp_path: Path) -> None:
    for name, content in (("a.png", b"no"), ("b.png", b"no"), ("c.png", b"other"), ("d.png", b"")):
        (tmp_path / name).write_bytes(content)
    found = equal_pictures(corpus(tmp_path, "a.png", "b.png", "c.png", "d.png", "gone.png"), workers=0)
    assert found == [["a.png", "b.png"]]


def test_same_hash_of_pixels_as_the_search_for_duplicates(tmp_path: Path) -> None:
    Image.effect_noise((20, 24), 50).save(tmp_path / "a.png")
    assert picture_digest(tmp_path, "a.png") == fingerprint(tmp_path, "a.png")["pixels"]
