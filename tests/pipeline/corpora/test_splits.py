"""Splits: made with a seed, written to be shared, read back, and read from other people's files."""

import csv
import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from met_meme_copy import write_csv, write_images

from mghft.pipeline.corpora.adapters.met_meme import possible_ids
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.split_files import read_split_rows, split_in_name
from mghft.pipeline.corpora.splits import Ratio, make_split, write_split
from mghft.pipeline.corpora.sticker import Corpus, Sticker

SHARES = Ratio.parse("6:2:2")


def memes(classes=(500, 250, 100, 9), languages=("en", "zh")):
    return [
        Sticker(f"{language}/{label}/{i}", "x.png", "all", label, str(label), subset=language)
        for language in languages
        for label, count in enumerate(classes)
        for i in range(count)
    ]


def counts(stickers, split, key):
    found = Counter((key(sticker), split[sticker.id]) for sticker in stickers)
    groups = dict.fromkeys(key(sticker) for sticker in stickers)
    return {group: [found[group, name] for name in ("train", "validation", "test")] for group in groups}


def test_shares_hold_in_every_language():
    stickers = memes()
    split = make_split(stickers, SHARES, 0)
    for language, found in counts(stickers, split, lambda s: s.subset).items():
        assert found == pytest.approx([859 * 0.6, 859 * 0.2, 859 * 0.2], abs=1), language


def test_remainders_of_small_classes_do_not_add_up():
    split = make_split(memes((7,) * 10, ("en",)), SHARES, 0)
    assert sorted(Counter(split.values()).values()) == [14, 14, 42]


def test_shares_hold_in_every_class_of_every_language():
    stickers = memes()
    split = make_split(stickers, SHARES, 0)
    for (_, label), found in counts(stickers, split, lambda s: (s.subset, s.label)).items():
        whole = (500, 250, 100, 9)[label]
        assert found == pytest.approx([whole * 0.6, whole * 0.2, whole * 0.2], abs=1)


def test_split_depends_on_the_seed_and_not_on_the_order():
    stickers = memes()
    split = make_split(stickers, SHARES, 0)
    shuffled = random.Random(0).sample(stickers, len(stickers))
    assert make_split(shuffled, SHARES, 0) == split
    assert make_split(stickers, SHARES, 1) != split


def test_another_language_beside_it_changes_no_split():
    both = make_split(memes(), SHARES, 0)
    alone = make_split(memes(languages=("en",)), SHARES, 0)
    assert {name: both[name] for name in alone} == alone


def test_kept_split_stays_and_the_rest_is_divided():
    stickers = [replace(one, split="test" if i % 5 == 0 else "train") for i, one in enumerate(memes())]
    split = make_split(stickers, Ratio.parse("9:1:0"), 0, keep=["test"])
    assert all((split[one.id] == "test") == (one.split == "test") for one in stickers)
    found = Counter(split.values())
    assert found["validation"] == pytest.approx(0.1 * (len(stickers) - found["test"]), abs=2)


@pytest.mark.parametrize("text", ["6:2", "6:2:2:1", "a:b:c", "1:0:0", "-1:1:1", "nan:1:1", "inf:1:1", ""])
def test_ratio_that_is_none(text):
    with pytest.raises(ValueError, match="--ratio must be"):
        Ratio.parse(text)


@pytest.fixture
def small(tmp_path):
    """Ten memes of each language, with images."""
    root = tmp_path / "met"
    for language, letter, start in (("en", "E", 0), ("zh", "C", 1)):
        pattern = "image_ ({}).jpg" if language == "en" else "Image_({}).jpg"
        here = range(start, start + 10)
        rows = [[pattern.format(i), "1(happiness)" if i % 2 else "2(love)"] for i in here]
        write_csv(
            root / f"label_{letter}.csv", [["file_name", "sentiment category"], *rows], encoding="utf-8"
        )
        write_images(root, f"{letter}images", language, only=list(here))
    return root


def splits_of(root, card):
    return {sticker.id: sticker.split for sticker in load_corpus(load_card(card), root).stickers}


def test_written_split_is_read_from_the_data_folder(small):
    corpus = load_corpus(load_card("met-meme"), small)
    split = make_split(corpus.stickers, SHARES, 3)
    lines = write_split(small / "mghft-split.csv", corpus, split, how="seed 3")
    assert splits_of(small, "met-meme") == split
    assert lines[0] == "# splits of the corpus met-meme: seed 3"
    assert lines[1].startswith("# train 12, validation 4, test 4; 20 ids, sha256")


def test_split_of_both_languages_serves_one_of_them_and_every_task(small):
    corpus = load_corpus(load_card("met-meme"), small)
    split = make_split(corpus.stickers, SHARES, 3)
    write_split(small / "mghft-split.csv", corpus, split, how="")
    assert splits_of(small, "met-meme:zh") == {k: v for k, v in split.items() if k.startswith("Chinese/")}


@pytest.mark.parametrize(("variant", "title"), [("en", "English"), ("zh:metaphor", "Chinese")])
def test_ids_of_the_other_language_are_no_unknown_ids(small, variant, title):
    """The file of both languages was refused as that of another corpus where one is smaller."""
    for letter in "EC":
        table = small / f"label_{letter}.csv"
        table.write_text(table.read_text().replace("sentiment category", "metaphor occurrence"))
        lines = table.read_text().splitlines()
        table.write_text(
            "\n".join([f"{lines[0]},sentiment category", *(f"{row},2(love)" for row in lines[1:])])
        )
    for number in range(3, 10):
        (small / f"Eimages/image_ ({number}).jpg").unlink()
    corpus = load_corpus(load_card("met-meme"), small)
    split = make_split(corpus.stickers, SHARES, 3)
    write_split(small / "mghft-split.csv", corpus, split, how="")
    found = load_corpus(load_card(f"met-meme:{variant}"), small)
    assert {one.id: one.split for one in found.stickers} == {
        name: place for name, place in split.items() if name.startswith(title)
    }
    assert not [note for note in found.notes if "lacks" in note]
    assert splits_of(small, f"met-meme:{variant}@{small}/mghft-split.csv").keys() == {
        one.id for one in found.stickers
    }


def test_ids_of_the_other_language_are_told_where_its_table_is_missing(small):
    corpus = load_corpus(load_card("met-meme"), small)
    write_split(
        small / "mghft-split.csv", corpus, make_split(corpus.stickers, SHARES, 3), how="of a colleague"
    )
    (small / "label_C.csv").unlink()
    for number in range(4, 10):
        (small / f"Eimages/image_ ({number}).jpg").unlink()
    corpus = load_corpus(load_card("met-meme:en"), small)
    assert len(corpus.stickers) == 4
    assert [note for note in corpus.notes if note.startswith("this copy lacks 6 ids of ")]


def test_unknown_ids_beside_those_of_the_other_language_are_named(small):
    rows = [f"English/image_ ({i}).jpg,train" for i in range(8)]
    rows += [f"Chinese/Image_({i}).jpg,train" for i in (1, 2, 77)]
    (small / "s.csv").write_text("\n".join(["id,split", *rows, "cat.jpg,test"]))
    corpus = load_corpus(load_card(f"met-meme:en@{small}/s.csv"), small)
    (note,) = [note for note in corpus.notes if note.startswith("this copy lacks")]
    assert note.startswith("this copy lacks 2 ids of ") and note.endswith(": Chinese/Image_(77).jpg, cat.jpg")


def test_splits_of_the_other_language_alone_name_the_way_out(small):
    corpus = load_corpus(load_card("met-meme:zh"), small)
    write_split(small / "mghft-split.csv", corpus, make_split(corpus.stickers, SHARES, 3), how="")
    with pytest.raises(
        ValueError, match=r"names no sticker of the corpus met-meme:en, .*data split met-meme"
    ):
        load_corpus(load_card("met-meme:en"), small)


def test_language_that_a_file_of_splits_leaves_out_is_named(small):
    corpus = load_corpus(load_card("met-meme:zh"), small)
    write_split(small / "mghft-split.csv", corpus, make_split(corpus.stickers, SHARES, 3), how="")
    both = load_corpus(load_card("met-meme"), small)
    assert {one.subset for one in both.stickers} == {"zh"}
    (note,) = [note for note in both.notes if "does not name 10 stickers, left out: " in note]
    assert note.endswith("and 7 more; the whole subset en is among them")


def test_variant_of_a_table_of_ones_own_is_no_other_corpus(tmp_path):
    (tmp_path / "own.md").write_text(
        "---\nmghft: {adapter: table, file: a.csv, split_file: s.csv, variants: {b: {file: b.csv}}}\n---\n"
    )
    for name, count in (("a", 9), ("b", 3)):
        rows = [f"{name}{i}.png,{('joy', 'fear')[i % 2]}" for i in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,label", *rows]))
    rows = [f"a{i}.png,train" for i in range(9)] + [f"b{i}.png,test" for i in range(3)]
    (tmp_path / "s.csv").write_text("\n".join(["id,split", *rows]))
    found = splits_of(tmp_path, f"{tmp_path}/own.md:b")
    assert found == dict.fromkeys(("b0.png", "b1.png", "b2.png"), "test")


def test_written_split_is_an_ordinary_csv_below_its_comments(small):
    names = {'a,"b"\n.jpg': "train", "# c": "test"}
    corpus = Corpus(load_card("met-meme"), small, [])
    write_split(small / "s.csv", corpus, names, how="")
    with (small / "s.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[-3:] == [["id", "split"], ['a,"b"\n.jpg', "train"], ["# c", "test"]]


def test_split_is_not_written_over_another(small):
    corpus = load_corpus(load_card("met-meme"), small)
    path = small / "s.csv"
    path.write_text("mine")
    with pytest.raises(
        ValueError, match=r"s\.csv already exists: give another with --out, or replace it with --force"
    ):
        write_split(path, corpus, {}, how="")
    assert path.read_text() == "mine"


def test_authors_splits_are_not_replaced_by_a_file_in_the_data_folder(tmp_path):
    from ser30k_copy import row, write

    write(tmp_path, lambda split: [row(split)])
    (tmp_path / "mghft-split.csv").write_text("id,split\n09-panda/train_1.jpg,test\n")
    assert splits_of(tmp_path, "ser30k")["09-panda/train_1.jpg"] == "train"
    assert splits_of(tmp_path, f"ser30k@{tmp_path}/mghft-split.csv") == {"09-panda/train_1.jpg": "test"}


def test_stickers_that_a_file_does_not_name_are_left_out_and_said(small):
    (small / "s.csv").write_text("id,split\n\nEnglish/image_ (1).jpg,dev\n,\nEnglish/image_ (2).jpg,TEST\n")
    corpus = load_corpus(load_card(f"met-meme@{small}/s.csv"), small)
    assert [sticker.split for sticker in corpus.stickers] == ["validation", "test"]
    assert any("does not name 18 stickers, left out: " in note for note in corpus.notes)


def test_ids_that_are_not_in_this_copy_are_said(small):
    rows = "".join(f"English/image_ ({i}).jpg,train\n" for i in range(12))
    (small / "s.csv").write_text("id,split\n" + rows)
    corpus = load_corpus(load_card(f"met-meme@{small}/s.csv"), small)
    assert any(note.startswith("this copy lacks 2 ids of ") and "(10)" in note for note in corpus.notes)


def test_splits_of_another_corpus_are_refused(small):
    (small / "s.csv").write_text("id,split\ncat.png,train\ndog.png,test\n")
    with pytest.raises(ValueError, match=r"2 of 2 ids .* 'cat\.png'.*another corpus"):
        load_corpus(load_card(f"met-meme@{small}/s.csv"), small)


def test_missing_split_file_that_was_asked_for(small):
    with pytest.raises(FileNotFoundError, match=r"the splits .*gone\.csv do not exist"):
        load_corpus(load_card(f"met-meme@{small}/gone.csv"), small)


def m3f(folder):
    """M3F-MEME: a table per split and language, English ids behind two characters."""
    for split, here in (("train", range(1, 7)), ("val", (7, 8)), ("test", (9,))):
        header = ["images_name", "sentiment category", "sentiment degree"]
        english = [[f"E_image_ ({i}).jpg", "1(happiness)", "1(slightly)"] for i in here]
        chinese = [[f"Image_({i}).jpg", "1(happiness)", "1(slightly)"] for i in here]
        write_csv(folder / f"avg_{split}_label_E.csv", [header, *english], encoding="utf-8")
        write_csv(folder / f"avg_{split}_label_C.csv", [header, *chinese], encoding="gbk")
        every = [[str(n), row[0], "2(expressive)", "", "0", "0(x)", row[1]] for n, row in enumerate(english)]
        write_csv(folder / f"avg_{split}_label_all.csv", every, encoding="utf-8")
    return folder


WANTED = dict.fromkeys(range(1, 7), "train") | {7: "validation", 8: "validation", 9: "test"}


@pytest.mark.parametrize(
    ("card", "pattern", "languages"),
    [
        ("met-meme:en", "avg_*_label_E.csv", ("English",)),
        ("met-meme:zh", "avg_*_label_C.csv", ("Chinese",)),
        ("met-meme", "avg_*_label_[EC].csv", ("English", "Chinese")),
        ("met-meme", "avg_*_label_all.csv", ("English",)),
        ("met-meme:en", "", ("English",)),
    ],
)
def test_splits_of_m3f(small, tmp_path, card, pattern, languages):
    folder = m3f(tmp_path / "text1")
    if card == "met-meme:en" and not pattern:
        for path in folder.glob("*_[C]*.csv"):
            path.unlink()
    pattern_of = {"English": "English/image_ ({}).jpg", "Chinese": "Chinese/Image_({}).jpg"}
    wanted = {pattern_of[name].format(i): split for name in languages for i, split in WANTED.items()}
    assert splits_of(small, f"{card}@{folder}/{pattern}") == wanted


def test_splits_of_c4mmd(small, tmp_path):
    for split, here in (("train", range(1, 7)), ("val", (7, 8)), ("test", (9,))):
        rows = [{"images_name": f"image_ ({i}).jpg", "file_name": f"English/image_ ({i}).jpg"} for i in here]
        rows += [{"images_name": f"Image_({i}).jpg", "file_name": f"Chinese/Image- ({i}).jpg"} for i in here]
        (tmp_path / f"{split}_data.json").write_text(json.dumps([{**row, "text": "hi"} for row in rows]))
    found = splits_of(small, f"met-meme@{tmp_path}")
    assert found == {
        **{f"English/image_ ({i}).jpg": split for i, split in WANTED.items()},
        **{f"Chinese/Image_({i}).jpg": split for i, split in WANTED.items()},
    }


@pytest.mark.parametrize("name", ["image_ ({}).jpg", "image_ ({})", "image_{}.jpg", "{}"])
def test_headerless_lines_of_id_and_label(small, tmp_path, name):
    for file, here in (("SintTrain6", range(1, 7)), ("SintVal2", (7, 8)), ("SintTest2", (9,))):
        lines = [f"{name.format(i)},{1 + i % 7}" for i in here]
        (tmp_path / f"{file}.csv").write_text("\n".join(lines))
    found = splits_of(small, f"met-meme:en@{tmp_path}/Sint*.csv")
    assert found == {f"English/image_ ({i}).jpg": split for i, split in WANTED.items()}


@pytest.mark.parametrize(
    "content",
    [
        {"train": ["image_ (1).jpg"], "test": [{"file_name": "English/image_ (2).jpg"}]},
        {"English/image_ (1).jpg": "train", "English/image_ (2).jpg": "test"},
        [{"id": "image_ (1)", "split": "train"}, {"id": "image_ (2)", "split": "testing"}],
    ],
)
def test_one_json_of_all_splits(small, tmp_path, content):
    (tmp_path / "s.json").write_text(json.dumps(content))
    found = splits_of(small, f"met-meme@{tmp_path}/s.json")
    assert found == {"English/image_ (1).jpg": "train", "English/image_ (2).jpg": "test"}


def test_id_in_two_splits_is_refused(small, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("image_ (1).jpg\nimage_ (2).jpg\n")
    with pytest.raises(ValueError, match=r"puts 'English/image_ \(1\)\.jpg' into .* and into"):
        load_corpus(load_card(f"met-meme@{tmp_path}"), small)


def test_bare_number_that_may_be_either_language_is_neither(small, tmp_path):
    (tmp_path / "train.txt").write_text("1\n2\n")
    with pytest.raises(ValueError, match="2 of 2 ids"):
        load_corpus(load_card(f"met-meme@{tmp_path}"), small)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("id,label\na,1\n", "has no column 'split'"),
        ("", "are empty"),
        ("\xff\xfe", "are empty"),
        ("id,split\n,train\n", "a row without a name"),
    ],
)
def test_file_that_gives_no_splits(tmp_path, text, reason):
    (tmp_path / "mine.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=reason):
        read_split_rows(str(tmp_path / "mine.csv"))


@pytest.mark.parametrize("text", ["{", "3", "{}", '{"a": 1}', "[null]", "[" * 100_000])
def test_json_that_gives_no_splits(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(ValueError, match=r"the split file .*train\.json"):
        read_split_rows(str(tmp_path / "train.json"))


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("avg_val_label_E", "validation"),
        ("SintTrain6", "train"),
        ("dev", "validation"),
        ("training-set", "train"),
        ("TEST", "test"),
        ("constraint", None),
        ("latest", None),
    ],
)
def test_split_in_a_files_name(stem, split):
    assert split_in_name(stem) == split


@pytest.mark.parametrize(
    ("name", "file", "ids"),
    [
        ("xx_image_ (3).jpg", "a.csv", ["English/image_ (3).jpg"]),
        ("Image_(3)", "a.csv", ["Chinese/Image_(3).jpg"]),
        ("C_3", "a.csv", ["Chinese/Image_(3).jpg"]),
        ("3", "avg_train_label_E.csv", ["English/image_ (3).jpg"]),
        ("3", "chinese_train.txt", ["Chinese/Image_(3).jpg"]),
        ("3", "train.txt", ["English/image_ (3).jpg", "Chinese/Image_(3).jpg"]),
        ("cat.jpg", "train.txt", []),
    ],
)
def test_name_in_somebodys_file(name, file, ids):
    assert possible_ids(name, file) == ids
