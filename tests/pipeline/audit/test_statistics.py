"""Statistics of a corpus: counts by split, headers, scripts of texts, charts and sheets of samples."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from mghft.pipeline.audit.figures import draw_sheets, draw_stats, sample, sheet
from mghft.pipeline.audit.statistics import Table, corpus_stats, quantiles, script_of, scripts_in
from mghft.pipeline.corpora.card import Card
from mghft.pipeline.corpora.sticker import Corpus, Sticker

RED, GREEN = (250, 0, 0), (0, 250, 0)


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    stickers = []
    texts = ["OK", "谢谢你", "", None, "hi 你好吗", "!!!"]
    for number, text in enumerate(texts):
        name = f"{number}.png"
        Image.new("RGB" if number else "RGBA", (40 + number, 30), RED if number % 2 else GREEN).save(
            root / name
        )
        label = number % 2
        split = "test" if number == 5 else "train"
        stickers.append(
            Sticker(name, name, split, label, ("green", "red $x$")[label], text, None, f"set {number // 3}")
        )
    card = Card(name="mine", title="Mine", adapter="folder", labels=("green", "red $x$"), source="mine.md")
    return Corpus(card, root, stickers)


def stats(corpus):
    return corpus_stats(corpus, workers=0)


def test_classes_are_counted_by_split(corpus):
    assert stats(corpus).classes == {
        "train": {"green": 3, "red $x$": 2},
        "test": {"green": 0, "red $x$": 1},
    }


def test_headers_give_formats_modes_and_sizes(corpus):
    Image.new("L", (40, 30)).save(corpus.root / "1.png", "JPEG")
    images = stats(corpus).images
    assert images.formats == {"PNG": 5, "JPEG": 1}
    assert images.modes == {"RGB": 4, "RGBA": 1, "L": 1}
    assert images.sizes["40x30"] == 2
    assert images.width == [40, 40, 42, 44, 45]
    assert (images.animated, images.transparent) == (0, 1)


def test_no_pixel_is_decoded(corpus, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr("mghft.pipeline.images.header.decode_bytes", lambda *_: pytest.fail("decoded"))
    assert not stats(corpus).unreadable


def test_unreadable_images_are_named_and_counted_apart(corpus):
    (corpus.root / "2.png").write_bytes(b"none")
    found = stats(corpus)
    assert found.unreadable == [("2.png", "the file is no image that can be read")]
    assert found.images.modes["RGB"] == 4
    last = found.sentences()[-1]
    assert last.startswith("1 image without a readable header, the first is 2.png (the file is no image")


def test_texts_are_counted_by_script_and_length(corpus):
    texts = stats(corpus).texts
    assert texts.with_text == 4
    assert texts.scripts == {"Han": 2, "Latin": 1, "(no letter)": 1}
    assert texts.mixed == 1
    assert texts.characters == [2, 3, 3, 3, 6]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Good morning", "Latin"),
        ("größe", "Latin"),
        ("早上好", "Han"),
        ("ありがとう", "Kana"),
        ("カワイイ", "Kana"),
        ("사랑해", "Hangul"),
        ("привет", "Cyrillic"),
        ("مرحبا", "Arabic"),
        ("ＯＫ", "Latin"),
        ("123 ?! ☺", "(no letter)"),
        ("  ", "(no text)"),
    ],
)
def test_script_of_a_text(text, script):
    assert script_of(text) == script


def test_letters_of_several_scripts_are_counted_apart():
    assert scripts_in("OK 你好吗!") == {"Latin": 2, "Han": 3}


def test_quantiles_are_values_that_occur():
    assert quantiles([5, 1, 9, 7, 3]) == [1, 3, 5, 7, 9]
    assert quantiles([4]) == [4] * 5
    assert quantiles([]) == []


def test_classes_are_a_table_and_the_rest_sentences(corpus):
    found = stats(corpus)
    rows = [["train", "3", "2", "5"], ["test", "0", "1", "1"]]
    assert found.class_table() == Table(["split", "green", "red $x$", "all"], rows)
    assert found.sentences() == [
        "images: PNG 6; modes RGB 5, RGBA 1",
        "sizes: 40x30 1, 41x30 1, 42x30 1, 43x30 1, 44x30 1, 45x30 1",
        "width 40 41 42 44 45, height 30 30 30 30 30 (least, lower quartile, median, upper quartile, most)",
        "animated: 0, with transparency: 1",
        "texts: on 4 stickers; characters 2 3 3 3 6, words 1 1 1 1 2",
        "scripts: Han 2, Latin 1, (no letter) 1; 1 text in more than one",
        "topics: 2",
    ]


def test_charts_are_pictures_and_labels_no_formulas(corpus, tmp_path):
    found = stats(corpus)
    paths = draw_stats(found, corpus, tmp_path / "out")
    assert [path.name for path in paths] == ["classes.png", "sizes.png", "texts.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.size == (960, 480)
    assert json.loads(json.dumps(found.to_dict()))["topics"] == 2


def test_a_sheet_per_class_shows_its_stickers_on_white(corpus, tmp_path):
    paths = draw_sheets(corpus, tmp_path / "out")
    assert [path.name for path in paths] == ["sheet-0-green.png", "sheet-1-red_x.png"]
    colors = []
    for path in paths:
        with Image.open(path) as image:
            colors.append({color for _, color in image.convert("RGB").getcolors()})
    assert GREEN in colors[0] and RED not in colors[0]
    assert RED in colors[1] and GREEN not in colors[1]
    assert all((255, 255, 255) in found for found in colors)


def test_the_sample_depends_on_ids_and_seed_alone(corpus):
    stickers = [Sticker(f"{n}", f"{n}", "all") for n in range(50)]
    first = sample(stickers, 10, 3)
    assert sample(stickers[::-1], 10, 3) == first
    assert sample(stickers, 10, 4) != first
    assert len({sticker.id for sticker in first}) == 10


def test_an_unreadable_image_leaves_a_tinted_field(corpus):
    (corpus.root / "1.png").write_bytes(b"none")
    page = sheet(corpus.root, corpus.stickers[1:2])
    assert page.getpixel((70, 70)) == (252, 239, 236)
