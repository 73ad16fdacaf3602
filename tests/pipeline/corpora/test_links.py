"""Links in a corpus' folder: followed below the root, named where they lead out of it."""

import shutil

import pytest
from met_meme_copy import write_csv, write_images
from PIL import Image

from mghft.pipeline.audit.check import check_corpus
from mghft.pipeline.corpora.adapters.paths import walk_files
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.decode import read_image


def write_card(card, root):
    """A corpus of two stickers, joy and anger or the card's own; returns its folder of images."""
    if card == "met-meme:en":
        rows = [["image_ (1).jpg", "2(love)"], ["image_ (2).jpg", "3(anger)"]]
        write_csv(root / "label_E.csv", [["file_name", "sentiment category"], *rows], encoding="utf-8")
        write_images(root, "Eimages", "en", only=[1, 2])
        return root / "Eimages"
    if card == "ser30k":
        from ser30k_copy import row, write

        write(root, lambda split: [row(split)])
        return root / "Images"
    for number, label in enumerate(("joy", "anger")):
        (root / "images" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8), (90 * number, 0, 0)).save(root / "images" / label / f"{number}.png")
    if card == "table":
        (root / "labels.csv").write_text("path,label\nimages/joy/0.png,joy\nimages/anger/1.png,anger\n")
    return root / "images"


CARDS = ["met-meme:en", "ser30k", "table", "folder"]


def load(card, root):
    # Of a folder, the classes lie one deeper than the link.
    return load_corpus(load_card(card), root / "images" if card == "folder" else root)


@pytest.mark.parametrize("card", CARDS)
def test_link_to_a_folder_below_the_root_is_followed(tmp_path, card):
    images = write_card(card, tmp_path)
    if card == "folder":
        images /= "joy"
    store = images.parent / ".store"
    images.rename(store)
    images.symlink_to(".store")
    corpus = load(card, tmp_path)
    assert len(corpus.stickers) >= 2 and not corpus.skipped
    for sticker in corpus.stickers:
        assert read_image(corpus.root, sticker.path)


@pytest.mark.parametrize("card", CARDS)
def test_root_may_be_a_link_itself(tmp_path, card):
    write_card(card, tmp_path / "real")
    (tmp_path / "linked").symlink_to("real")
    corpus = load(card, tmp_path / "linked")
    assert len(corpus.stickers) >= 2
    for sticker in corpus.stickers:
        assert read_image(corpus.root, sticker.path)


@pytest.mark.parametrize("card", CARDS)
def test_link_out_of_the_root_is_named_with_the_way_out(tmp_path, card):
    root = tmp_path / "data"
    images = write_card(card, root)
    if card == "folder":
        images /= "joy"
    shutil.move(images, tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    try:
        corpus = load(card, root)
        found = [*corpus.notes, *corpus.problems, *check_corpus(corpus.card, corpus.root, workers=0).problems]
    except (ValueError, FileNotFoundError) as error:
        found = [str(error)]
    link = {"met-meme:en": "Eimages", "ser30k": "Images", "table": "images", "folder": "joy"}[card]
    lines = [line for line in found if f"({link})" in line or f"{link} is a link out of" in line]
    assert lines and "cp -RL" in lines[0], found


def test_class_that_is_a_link_out_of_the_root_is_a_problem(tmp_path):
    write_card("folder", tmp_path)
    (tmp_path / "images" / "fear").symlink_to(tmp_path)
    (problem,) = load("folder", tmp_path).problems
    assert problem.startswith("fear is a link out of the data folder")


def test_links_in_a_circle_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
        (tmp_path / name / "other").symlink_to(tmp_path / other)
        (tmp_path / name / "up").symlink_to(tmp_path)
    found = list(walk_files(tmp_path))
    assert {"a/a.png", "b/b.png", "a/other/b.png"} <= set(found) and len(found) < 20


def test_many_links_to_each_other_cost_no_more_than_a_few_listings(tmp_path):
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x.png").touch()
        for other in range(12):
            (tmp_path / str(number) / f"to{other}").symlink_to(tmp_path / str(other))
    assert len(list(walk_files(tmp_path))) <= 12 * 5


def test_link_of_a_single_file_out_of_the_root_is_named(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    (tmp_path / "data" / "joy").mkdir(parents=True)
    (tmp_path / "data" / "joy" / "a.png").symlink_to(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"through a link \(joy/a\.png\): copy the files"):
        read_image(tmp_path / "data", "joy/a.png")
