"""The commands on the quality of a corpus, as a person calls them."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image


@pytest.fixture
def squares(tmp_path):
    """Root of a corpus of the card `emoji`: four stickers in a folder, as annotations need it."""
    root = tmp_path / "squares"
    (root / "art").mkdir(parents=True)
    lines = ["path,label,split,part,emoji,hexcode,name,style"]
    for number, (label, split) in enumerate(
        [("anger", "train"), ("fear", "train"), ("anger", "validation"), ("fear", "validation")]
    ):
        image = Image.effect_noise((32, 32), 60 + 20 * number).convert("RGB")
        image.save(root / "art" / f"{number}.png")
        lines.append(f"art/{number}.png,{label},{split},,,,,")
    (root / "stickers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_duplicates_says_shows_and_writes(mghft, squares, tmp_path):
    (squares / "art" / "2.png").write_bytes((squares / "art" / "0.png").read_bytes())
    answer = mghft(
        "data", "duplicates", "emoji", "--data", squares, "--out", "found", "--drop-leaks", "--near", 0
    )
    assert answer.code == 0, answer.err
    said = answer.out.splitlines()
    assert said[0] == "the same bytes: 1 pair, 1 across splits, 0 under two labels"
    assert "  the same bytes: art/0.png (train, anger) = art/2.png (validation, anger)" in said
    assert "leaks: 1 sticker of train also in validation" in said
    with (tmp_path / "found" / "clean-split.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["art/1.png", "art/2.png", "art/3.png"]
    again = mghft("data", "duplicates", "emoji", "--data", squares, "--out", "found", "--drop-leaks")
    assert again.code == 2
    assert again.err.startswith(
        "error: the file found/clean-split.csv already exists: give another with --out"
    )


def test_stats_says_and_draws(mghft, squares, tmp_path):
    answer = mghft("data", "stats", "emoji", "--data", squares, "--out", "stats", "--sample", 2)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(
        "4 stickers of emoji\n\n"
        "            anger  disgust  fear  happiness  neutral  sadness  surprise  all\n"
        "train           1        0     1          0        0        0         0    2\n"
        "validation      1        0     1          0        0        0         0    2\n\n"
        "images: PNG 4"
    )
    assert "images: PNG 4; modes RGB 4" in answer.out
    names = sorted(path.name for path in (tmp_path / "stats").iterdir())
    assert names == ["classes.png", "sheet-0-anger.png", "sheet-2-fear.png", "sizes.png", "stats.json"]
    assert json.loads((tmp_path / "stats" / "stats.json").read_text())["stickers"] == 4


def test_exported_annotations_come_back_and_can_be_trained_on(mghft, squares, described, tmp_path):
    annotations = tmp_path / "mg" / "Annotations_mg" / "image-level" / "train.json"
    exported = mghft("export", described, "--format", "annotations-mg", "--out", "mg")
    assert exported.code == 0, exported.err
    annotations.write_text(annotations.read_text().replace("#The sticker's style", "#The style", 1))
    answer = mghft("data", "import-mg", "mg", "emoji", "--data", squares, "--out", "again")
    assert (answer.code, answer.out) == (0, "descriptions: again\n")
    assert "4 stickers: 3 with four views, 1 failed" in answer.err
    assert mghft("verify", "again", "emoji", "--data", squares).out == "again is whole\n"
    assert "model: unknown (imported)" in mghft("status", "again").out
    assert mghft("failed", "again").out.startswith("art/0.png  the text has 3 markers, not four")
    assert mghft("preview", "again", "--data", squares).code == 0

    from mghft.pipeline.corpora.card import load_card
    from mghft.pipeline.corpora.load import load_corpus
    from mghft.pipeline.views import VIEWS
    from mghft.train.data.descriptions import read_texts

    stickers = load_corpus(load_card("emoji"), squares).stickers
    first, again = (read_texts(run, VIEWS).of(stickers) for run in (described, tmp_path / "again"))
    assert first.texts[1:] == again.texts[1:] and (first.missing(), again.missing()) == (0, 1)


def test_describe_does_not_go_on_with_an_imported_run(mghft, squares, described):
    mghft("export", described, "--format", "annotations-mg", "--out", "mg")
    mghft("data", "import-mg", "mg", "emoji", "--data", squares, "--out", "again")
    answer = mghft("describe", "emoji", "--data", squares, "--out", "again")
    assert answer.code == 2
    assert "holds a run of another configuration" in answer.err and "unknown (imported)" in answer.err


def test_fast_check_looks_at_headers(mghft, squares):
    content = (squares / "art" / "1.png").read_bytes()
    (squares / "art" / "1.png").write_bytes(content[: len(content) // 2])
    answer = mghft("data", "check", "emoji", "--data", squares, "--fast")
    assert answer.code == 1
    assert "1 image cannot be read: art/1.png (the image is damaged or truncated" in answer.out
