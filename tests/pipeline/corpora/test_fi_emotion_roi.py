"""FI and EmotionROI by the index files of earlier projects."""

import json

import pytest

from mghft.pipeline.audit.check import check_corpus
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus

FI = {"train": [["Amusement/1_z.jpg", 0], ["Awe/2_z.jpg", 2]], "test": [["Sadness/3_z.jpg", 7]]}
ROI = {"train": [[0, "a/1.jpg"], [3, "b/2.jpg"]], "test": [[5, "c/3.jpg"]]}


def write(root, index, *, folder="", name="{}.json", images="{split}/{path}"):
    """Index files and, for each row, an empty image where `images` says."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for split, rows in index.items():
        (root / folder / name.format(split)).write_text(json.dumps(rows))
        for row in rows:
            path = next(cell for cell in map(str, row) if cell.endswith(".jpg")).replace("\\", "/")
            image = root / images.format(split=split, path=path)
            image.parent.mkdir(parents=True, exist_ok=True)
            image.touch()
    return root


def load(root, card="fi", **options):
    return load_corpus(load_card(card), root, **options)


def facts(corpus):
    return [(sticker.id, sticker.split, sticker.label_name) for sticker in corpus.stickers]


WANTED = [
    ("train/Amusement/1_z.jpg", "train", "amusement"),
    ("train/Awe/2_z.jpg", "train", "awe"),
    ("test/Sadness/3_z.jpg", "test", "sadness"),
]


@pytest.mark.parametrize("folder", ["", "other_dataset/FI"])
@pytest.mark.parametrize(
    "images", ["{split}/{path}", "{path}", "emotion_dataset/{path}", "FI/x/{split}/{path}"]
)
def test_fi_wherever_its_images_lie(tmp_path, folder, images):
    corpus = load(write(tmp_path, FI, folder=folder, images=images))
    assert facts(corpus) == WANTED
    assert corpus.stickers[0].path == images.format(split="train", path="Amusement/1_z.jpg")


def test_fi_image_of_its_own_split_goes_first(tmp_path):
    index = {"train": [["Awe/1.jpg", 2]], "test": [["Awe/1.jpg", 2]]}
    corpus = load(write(tmp_path, index, images="x/{split}/{path}"))
    assert [sticker.path for sticker in corpus.stickers] == ["x/train/Awe/1.jpg", "x/test/Awe/1.jpg"]


def test_fi_by_the_index_of_tgca_pvt(tmp_path):
    index = {"train": [[r"data\train\Awe\2.jpg", 2]], "test": [[r"data\test\Fear\3.jpg", 6]]}
    folder = "other_dataset/FI/emotion_dataset"
    write(tmp_path, index, folder=folder, name="{}3.json", images=folder + "/{path}")
    corpus = load(tmp_path)
    assert corpus.stickers[0].path == f"{folder}/data/train/Awe/2.jpg"
    assert any("2 paths written with backslashes" in note for note in corpus.notes)


def test_fi_number_that_contradicts_the_class_folder(tmp_path):
    corpus = load(write(tmp_path, {**FI, "train": [["Awe/2.jpg", 3]]}))
    assert "1 row with another number than the class folder: Awe/2.jpg has 3" in corpus.problems[0]


def test_fi_counts_of_the_card_are_compared(tmp_path):
    corpus = load(write(tmp_path, FI))
    problems = check_corpus(corpus.card, tmp_path).problems
    assert "the split train has 2 stickers, the card says 19290" in problems


def test_counts_of_the_fi_card_add_up():
    card = load_card("fi")
    assert {split: sum(found.values()) for split, found in card.label_counts.items()} == card.counts


def test_missing_validation_split_is_said_with_the_way_out(tmp_path):
    assert any("data split" in note for note in load(write(tmp_path, FI)).notes)


def test_validation_of_somebodys_own_is_read(tmp_path):
    corpus = load(write(tmp_path, {**FI, "val": [["Fear/9.jpg", 6]]}))
    assert ("validation/Fear/9.jpg", "validation", "fear") in facts(corpus)


def test_bad_and_missing_images_are_left_out(tmp_path):
    write(tmp_path, FI)
    rows = [*FI["train"], ["../x/Awe.jpg", 2], ["/etc/Awe.jpg", 2], ["Awe/gone.jpg", 2]]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    corpus = load(tmp_path)
    assert facts(corpus) == WANTED
    assert [reason for _, reason in corpus.skipped] == [
        "its path leaves the data folder",
        "its path is absolute",
        "its image is missing",
    ]
    with pytest.raises(ValueError, match="3 of 6 stickers"):
        load(tmp_path, strict=True)


def test_duplicated_image_stays_two(tmp_path):
    corpus = load(write(tmp_path, {**FI, "train": [["Awe/2.jpg", 2], ["Awe/2.jpg", 2]]}))
    assert [sticker.id for sticker in corpus.stickers][:2] == ["train/Awe/2.jpg", "train/Awe/2.jpg#2"]
    assert corpus.problems[0].startswith(
        "1 row for a duplicated image of the split, each a sticker of its own"
    )


@pytest.mark.parametrize(
    "rows",
    [{"a": 1}, [["x/a.jpg"]], [["x/a.jpg", "b"]], [["x/a.jpg", 1.5]], [[1, 2]], ["x"], [["x/a.jpg", True]]],
)
def test_index_of_another_shape(tmp_path, rows):
    write(tmp_path, FI)
    (tmp_path / "test.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"test\.json(, row 0)?:? "):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\ufeff[", "[" * 100_000])
def test_index_that_is_no_json(tmp_path, text):
    write(tmp_path, FI)
    (tmp_path / "test.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.json is no JSON"):
        load(tmp_path)


@pytest.mark.parametrize(("number", "last"), [(8, 7), (-1, 7)])
def test_number_out_of_range(tmp_path, number, last):
    with pytest.raises(ValueError, match=rf"row 0: the label is {number}, expected 0 to {last}"):
        load(write(tmp_path, {**FI, "train": [["Awe/2.jpg", number]]}))


@pytest.mark.parametrize("card", ["fi", "emotion-roi"])
def test_missing_index_says_where_to_get_it(tmp_path, card):
    (tmp_path / "train.json").write_text("[]")
    with pytest.raises(FileNotFoundError, match=r"needs test\.json .*other_dataset"):
        load(tmp_path, card)


@pytest.mark.parametrize("flip", [False, True])
def test_emotion_roi_in_either_order_of_the_pair(tmp_path, flip):
    index = {split: [row[::-1] for row in rows] if flip else rows for split, rows in ROI.items()}
    corpus = load(write(tmp_path, index, images="{path}"), "emotion-roi")
    assert [name for _, _, name in facts(corpus)] == ["anger", "joy", "surprise"]
    assert any("which number is which emotion is not known" in note for note in corpus.notes)


def test_emotion_roi_numbers_told_by_the_folders(tmp_path):
    names = ["surprise", "Sadness", "happiness", "fear", "Disgust", "anger"]
    rows = [[str(number), f"images/{name}/1.jpg"] for number, name in enumerate(names)]
    corpus = load(write(tmp_path, {"train": rows, "test": rows[:1]}, images="{path}"), "emotion-roi")
    wanted = ["surprise", "sadness", "joy", "fear", "disgust", "anger", "surprise"]
    assert [sticker.label_name for sticker in corpus.stickers] == wanted
    assert any("0 surprise" in note for note in corpus.notes)


def test_emotion_roi_folders_that_contradict_the_numbers(tmp_path):
    rows = [[0, "anger/1.jpg"], [0, "fear/2.jpg"]]
    corpus = load(write(tmp_path, {"train": rows, "test": []}, images="{path}"), "emotion-roi")
    assert "contradict" in corpus.problems[0]
