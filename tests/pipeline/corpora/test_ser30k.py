"""SER30K as it may lie on a disk: layouts, numbers, votes, and what is left out."""

import json
from collections import Counter

import pytest
from ser30k_copy import add_image, row, write

from mghft.pipeline.corpora.adapters.ser30k_labels import parse_categories
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.decode import decode_image

TEST_COUNTS = (550, 42, 165, 2251, 2163, 672, 305)


def load(root, **options):
    return load_corpus(load_card("ser30k"), root, **options)


@pytest.mark.parametrize("nested", [True, False])
def test_both_layouts(tmp_path, nested):
    corpus = load(write(tmp_path, lambda split: [row(split, text="hi")], nested=nested))
    assert [sticker.split for sticker in corpus.stickers] == ["train", "validation", "test"]
    assert corpus.stickers[0] == Sticker(
        "09-panda/train_1.jpg",
        "Images/09-panda/train_1.jpg",
        "train",
        3,
        "happiness",
        "hi",
        topic="09-panda",
        votes=(3, 3, 4),
    )


def test_nested_layout_goes_first(tmp_path):
    write(tmp_path, lambda split: [row(split, anno=1)], nested=False)
    write(tmp_path, lambda split: [row(split, anno=2)])
    assert {sticker.label for sticker in load(tmp_path).stickers} == {1}


def test_folder_above_the_data_set_is_taken_too(tmp_path):
    write(tmp_path / "SER_Dataset", lambda split: [row(split)])
    first = load(tmp_path).stickers[0]
    assert (first.id, first.path) == ("09-panda/train_1.jpg", "SER_Dataset/Images/09-panda/train_1.jpg")


def test_same_file_name_in_two_topics(tmp_path):
    write(tmp_path, lambda split: [row(split), row(split, topic="pepe-7")])
    assert len(load(tmp_path).stickers) == 6


@pytest.mark.parametrize(
    "name", ["sticker_1.jpg", "28.jpg", "1596330148.jpg", "a b_c.d.jpg", "x.PNG", "ü😀.jpg", "no suffix"]
)
def test_any_file_name(tmp_path, name):
    corpus = load(write(tmp_path, lambda s: [row(s, file_name=name, topic=f"22avocado_{s}")]))
    assert corpus.stickers[0].id == f"22avocado_train/{name}" and corpus.skipped == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_every_mode_is_decoded(tmp_path, mode):
    write(tmp_path, lambda split: [row(split)])
    add_image(tmp_path, "09-panda/train_1.jpg", mode)
    assert decode_image(tmp_path, load(tmp_path).stickers[0].path).mode == "RGB"


def test_empty_text_is_none(tmp_path):
    assert load(write(tmp_path, lambda s: [row(s)])).stickers[0].text is None


def test_lone_surrogate_in_a_text_can_be_written(tmp_path):
    assert load(write(tmp_path, lambda s: [row(s, text="a\ud800")])).stickers[0].text == "a?"


def test_lone_surrogate_in_a_name_costs_no_other_sticker(tmp_path):
    corpus = load(write(tmp_path, lambda split: [row(split, topic="a\ud800"), row(split)]))
    assert corpus.stickers[0].id == "09-panda/train_1.jpg"
    assert corpus.skipped[0] == (r"Images/a\ud800/train_1.jpg", "its image is missing")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"topic": ".."}, "leaves the data folder"),
        ({"file_name": "../../secret.jpg"}, "leaves the data folder"),
        ({"file_name": "..\\secret.jpg"}, "leaves the data folder"),
        ({"file_name": "a\0.jpg"}, "NUL"),
        ({"file_name": "gone.jpg"}, "missing"),
        ({"topic": "/etc", "file_name": "passwd"}, "absolute"),
        ({"topic": "C:\\x"}, "absolute"),
    ],
)
def test_sticker_that_cannot_be_used_is_left_out_and_named(tmp_path, fields, reason):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "secret.jpg").touch()
    rows = lambda split: [row(split), *([row(split, **fields)] if split == "test" else [])]  # noqa: E731
    corpus = load(write(tmp_path, rows, images=False))
    assert len(corpus.stickers) == 3
    ((name, why),) = corpus.skipped
    assert reason in why and name.startswith("Images/")
    with pytest.raises(ValueError, match=r"1 of 4 stickers of the corpus ser30k cannot be used: .*"):
        load(tmp_path, strict=True)


def test_what_is_left_out_is_said_once_when_loading(tmp_path, caplog):
    rows = lambda split: [row(split), row(split, file_name="said-once.jpg")]  # noqa: E731
    write(tmp_path, lambda split: [row(split)])
    write(tmp_path, rows, images=False)
    load(tmp_path)
    load(tmp_path)
    assert caplog.text.count("3 of 6 stickers are left out: 3 (its image is missing)") == 1


def test_without_any_image_the_first_places_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no stickers: all 3 are left out.*Images/09-panda/train_1\.jpg"):
        load(write(tmp_path, lambda split: [row(split)], images=False))


@pytest.mark.parametrize("there", ["Train_1.JPG", "train_1.png"])
def test_other_case_or_suffix_on_disk(tmp_path, there):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "Images/09-panda/train_1.jpg").rename(tmp_path / "Images/09-panda" / there)
    corpus = load(tmp_path)
    assert corpus.stickers[0].path == f"Images/09-panda/{there}"
    assert any("1 image with another case or suffix on disk" in note for note in corpus.notes)


def test_row_listed_twice_stays_two_stickers_and_is_a_problem(tmp_path):
    corpus = load(write(tmp_path, lambda split: [row(split, file_name="1.jpg")]))
    assert [sticker.id for sticker in corpus.stickers] == [
        f"09-panda/1.jpg{mark}" for mark in ("", "#2", "#3")
    ]
    assert "1 image listed more than once" in corpus.problems[0]


@pytest.mark.parametrize("anno", [0, 8, -1])
def test_number_out_of_range(tmp_path, anno):
    write(tmp_path, lambda split: [row(split), row(split, file_name="2.jpg", anno=anno)])
    with pytest.raises(ValueError, match=rf"train\.json, row 1: anno is {anno}, expected 1 to 7"):
        load(tmp_path)


@pytest.mark.parametrize("anno", [None, "joy", float("inf"), [], True, 4.5])
def test_number_that_is_none(tmp_path, anno):
    with pytest.raises(ValueError, match=r"train\.json, row 0: malformed field"):
        load(write(tmp_path, lambda split: [row(split, anno=anno)]))


@pytest.mark.parametrize("anno", [4.0, "4"])
def test_number_in_another_spelling(tmp_path, anno):
    assert load(write(tmp_path, lambda s: [row(s, anno=anno)])).stickers[0].label_name == "happiness"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"annotations": {"a": 1}}', '{"annotations": null}'])
def test_json_of_another_shape(tmp_path, text):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "Annotations" / "image-level" / "val.json").write_text(text)
    with pytest.raises(ValueError, match=r"val\.json is no JSON object with a list 'annotations'"):
        load(tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_missing_split_file(tmp_path, split):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "Annotations" / "image-level" / f"{split}.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{split}\.json, and neither exists"):
        load(tmp_path)


def test_without_val_json_there_is_no_validation_split_and_it_is_said(tmp_path):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "Annotations" / "image-level" / "val.json").unlink()
    corpus = load(tmp_path)
    assert {sticker.split for sticker in corpus.stickers} == {"train", "test"}
    assert any("no validation split" in note for note in corpus.notes)


def test_votes_that_are_missing_or_wrong_are_none(tmp_path):
    corpus = load(write(tmp_path, lambda s: [row(s, anno2=None, anno3=9)]))
    assert corpus.stickers[0].votes == (3, None, None)


def test_files_without_votes(tmp_path):
    corpus = load(write(tmp_path, lambda s: [row(s, anno1=None, anno2=None, anno3=None)]))
    assert corpus.stickers[0].votes == ()
    assert any("no labels of single annotators" in note for note in corpus.notes)


LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
BACKWARDS = LABELS[::-1]


@pytest.mark.parametrize(
    "block",
    [
        [{"id": i + 1, "name": name} for i, name in enumerate(BACKWARDS)],
        [{"id": i, "name": name, "supercategory": "emotion"} for i, name in enumerate(BACKWARDS)],
        {str(i + 1): name.title() for i, name in enumerate(BACKWARDS)},
        {name: i + 1 for i, name in enumerate(BACKWARDS)},
        {name: i for i, name in enumerate(BACKWARDS)},
        list(BACKWARDS),
        ["surprised", "sad", "neutral", "happy", "afraid", "disgusted", "angry"],
    ],
)
@pytest.mark.parametrize("place", ["split", "all_annos"])
def test_categories_in_every_shape_are_honoured(tmp_path, block, place):
    top = {"categories": block} if place == "split" else {}
    write(tmp_path, lambda split: [row(split, anno=1, anno1=7)], **top)
    if place == "all_annos":
        content = {"annotations": [row(s) for s in ("train", "val", "test")], "categories": block}
        (tmp_path / "Annotations" / "all_annos.json").write_text(json.dumps(content))
    corpus = load(tmp_path)
    assert corpus.card.labels == LABELS
    assert corpus.stickers[0].label_name == "surprise" and corpus.stickers[0].votes[0] == 0
    assert any("1 surprise" in note for note in corpus.notes)


@pytest.mark.parametrize(
    "block",
    [
        [1, 2, 3],
        {"a": "b"},
        list(LABELS[:6]),
        [*LABELS[:6], "anger"],
        {str(i + 2): name for i, name in enumerate(LABELS)},
        [{"id": 1, "name": name} for name in LABELS],
        "anger",
    ],
)
def test_categories_that_cannot_be_understood_are_a_problem(tmp_path, block):
    corpus = load(write(tmp_path, lambda split: [row(split)], categories=block))
    assert corpus.stickers[0].label_name == "happiness"
    assert "cannot be understood" in corpus.problems[0]
    assert parse_categories(block, LABELS) is None


def test_empty_categories_say_nothing(tmp_path):
    corpus = load(write(tmp_path, lambda split: [row(split)], categories={}))
    assert not [line for line in [*corpus.notes, *corpus.problems] if "categories" in line]


def test_all_annos_of_another_shape_is_no_obstacle(tmp_path):
    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "Annotations" / "all_annos.json").write_text("[1]")
    assert len(load(tmp_path).stickers) == 3


def copy_with_counts(root, counts):
    """A test split with so many rows of each number; one picture serves them all."""
    rows = [
        row("test", file_name=f"{n}_{i}.jpg", anno=n)
        for n, count in enumerate(counts, 1)
        for i in range(count)
    ]
    write(root, lambda split: rows if split == "test" else [row(split)], images=False)
    add_image(root, "09-panda/train_1.jpg")
    for name in ("val_1.jpg", *(one["file_name"] for one in rows)):
        (root / "Images/09-panda" / name).hardlink_to(root / "Images/09-panda/train_1.jpg")
    return root


def test_counts_of_the_test_split_fit_the_alphabetical_order(tmp_path):
    corpus = load(copy_with_counts(tmp_path, TEST_COUNTS))
    assert corpus.problems == ()
    assert Counter(s.label for s in corpus.stickers if s.split == "test") == dict(enumerate(TEST_COUNTS))


def test_counts_under_other_numbers_name_the_order_that_fits(tmp_path):
    corpus = load(copy_with_counts(tmp_path, TEST_COUNTS[::-1]))
    assert f"the numbers from 1 mean {', '.join(BACKWARDS)}" in corpus.problems[0]
