"""MET-Meme in the shapes in which it circulates, whole and dirty."""

from collections import Counter

import pytest
from met_meme_copy import (
    NO_IMAGE,
    VALUES,
    label_rows,
    name_in_table,
    name_on_disk,
    text_rows,
    write_csv,
    write_images,
    write_tables,
)

from mghft.pipeline.audit.check import check_corpus
from mghft.pipeline.corpora.adapters.met_meme_images import number_of
from mghft.pipeline.corpora.adapters.met_meme_tables import read_value
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Both languages as Kaggle and the authors' history have them, images nested as their archives do."""
    root = tmp_path_factory.mktemp("met-meme")
    for language, folder in (("en", "Eimages/Eimages/Eimages"), ("zh", "Cimages/Cimages")):
        write_tables(root, language)
        write_images(root, folder, language)
    return root


def few(root, rows, language="en", texts=None, encoding="utf-8", columns=("sentiment category",)):
    """A copy with a few rows; `rows` are cells from the name on."""
    letter = {"en": "E", "zh": "C"}[language]
    write_csv(root / f"label_{letter}.csv", [["file_name", *columns], *rows], encoding=encoding)
    if texts is not None:
        write_csv(root / f"{letter}_text.csv", [["file_name", "text"], *texts], encoding=encoding)
    return root


def meme(number, value="2(love)", language="en"):
    return [name_in_table(language, number), value]


def said(corpus, *words):
    """The notes and problems that hold all the words."""
    return [line for line in [*corpus.notes, *corpus.problems] if all(word in line for word in words)]


@pytest.mark.parametrize(
    ("task", "column", "labels"),
    [
        ("sentiment", "sentiment category", 7),
        ("degree", "sentiment degree", 3),
        ("intention", "intention detection", 5),
        ("offensiveness", "offensiveness detection", 4),
        ("metaphor", "metaphor occurrence", 2),
    ],
)
@pytest.mark.parametrize(("language", "side", "rows"), [("en", 0, 3994), ("zh", 1, 6045)])
def test_every_task_has_the_counts_of_the_authors_files(whole, task, column, labels, language, side, rows):
    corpus = load_corpus(load_card(f"met-meme:{language}:{task}"), whole)
    assert len(corpus.stickers) == rows and len(corpus.card.labels) == labels
    wanted = [counts[side] for counts in VALUES[column].values()]
    if task == "intention":
        wanted = [wanted[0], wanted[1] + wanted.pop(), *wanted[2:]]
    missing = {name_in_table("en", number) for number in NO_IMAGE} if language == "en" else set()
    place = label_rows(language)[0].index(column)
    gone = Counter(row[place] for row in label_rows(language) if row[0] in missing)
    found = Counter(sticker.label for sticker in corpus.stickers)
    for label, count in enumerate(wanted):
        lost = sum(n for value, n in gone.items() if read_value(value, _task(corpus, task))[0] == label)
        assert found[label] == count - lost
    assert said(corpus, "as many as in the authors' files", f"{rows + len(missing):,} rows")


def _task(corpus, name):
    return corpus.card.met_meme.tasks[name]


def test_both_languages_are_subsets_of_one_corpus(whole):
    corpus = load_corpus(load_card("met-meme"), whole)
    assert Counter(sticker.subset for sticker in corpus.stickers) == {"en": 3994, "zh": 6045}
    assert len({sticker.id for sticker in corpus.stickers}) == 10039
    assert corpus.skipped == tuple(
        (f"English/image_ ({number}).jpg", "its image is missing") for number in sorted(NO_IMAGE, key=str)
    )


def test_one_language_alone_is_no_subset(whole):
    assert {sticker.subset for sticker in load_corpus(load_card("met-meme:zh"), whole).stickers} == {None}


def test_texts_of_several_lines_and_empty_ones(whole):
    for language, empty, lines in (("en", 58, 2629), ("zh", 228, 442)):
        found = load_corpus(load_card(f"met-meme:{language}"), whole)
        texts = {row[0]: row[1] for row in text_rows(language)}
        assert said(found, f"{empty} memes with an empty text")
        for sticker in found.stickers:
            assert (sticker.text or "") == texts[sticker.id.partition("/")[2]]
        several = sum("\n" in (sticker.text or "") for sticker in found.stickers)
        assert lines - len(NO_IMAGE) <= several <= lines


def test_dirty_value_is_read_and_said(whole):
    corpus = load_corpus(load_card("met-meme:zh:intention"), whole)
    (line,) = said(corpus, "表达情感")
    assert "2 × '表达情感'" in line and "read as expressive" in line


def test_empty_columns_and_encoding_are_said(whole):
    corpus = load_corpus(load_card("met-meme"), whole)
    assert said(corpus, "label_E.csv is read as gb18030, 243 columns without a name passed by")
    assert said(corpus, "C_text.csv is read as gb18030, 10 columns without a name")
    assert said(corpus, "6045 images found by '- ' in place of '_'")


def test_whole_corpus_passes_its_check(whole):
    corpus = load_corpus(load_card("met-meme:en"), whole)
    found = check_corpus(corpus.card, whole)
    assert corpus.problems == () and found.problems == []


def test_strict_refuses_a_missing_image(whole):
    with pytest.raises(ValueError, match=r"6 of 4000 stickers of the corpus met-meme:en cannot be used"):
        load_corpus(load_card("met-meme:en"), whole, strict=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_tables_saved_again_in_another_encoding(tmp_path, encoding):
    write_tables(tmp_path, "zh", encoding)
    write_images(tmp_path, "Cimages", "zh", only=[5800])
    (sticker,) = load_corpus(load_card("met-meme:zh"), tmp_path).stickers
    assert sticker.text.startswith("表情包") and sticker.text.endswith("鎔")


def test_bytes_in_no_known_encoding_cost_no_meme(tmp_path):
    few(tmp_path, [meme(1)], texts=[["image_ (1).jpg", "hi"]])
    write_images(tmp_path, "Eimages", "en", only=[1])
    text = tmp_path / "E_text.csv"
    text.write_bytes(text.read_bytes().replace(b"hi", b"hi \xff!"))
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert corpus.stickers[0].text == "hi \ufffd!"
    assert said(corpus, "E_text.csv is read as gb18030, 1 character unreadable")


@pytest.mark.parametrize(
    ("language", "folder", "name"),
    [
        ("en", "Eimages", "image_ ({}).jpg"),
        ("en", "Eimages/Eimages", "image_ ({}).png"),
        ("en", "English", "image_{}.jpg"),
        ("en", ".", "image_ ({}).jpg"),
        ("en", "data/image/English", "IMAGE_ ({}).JPG"),
        ("en", "pictures", "{}.webp"),
        ("zh", "Cimages/Cimages/Cimages", "Image- ({}).jpg"),
        ("zh", "Chinese", "Image_({}).jpg"),
        ("zh", "cimages", "Image-({}).jpeg"),
        ("zh", "Cimages", "{}.jpg"),
        ("zh", "all", "Image- ({}).jpg"),
    ],
)
def test_images_under_every_naming_and_nesting(tmp_path, language, folder, name):
    few(tmp_path, [meme(10, language=language)], language)
    write_images(tmp_path, folder, language, lambda _, number: name.format(number), only=[9, 10, 11])
    (sticker,) = load_corpus(load_card(f"met-meme:{language}"), tmp_path).stickers
    assert sticker.path.endswith(name.format(10))
    wanted = {"en": "English/image_ (10).jpg", "zh": "Chinese/Image_(10).jpg"}
    assert sticker.id == wanted[language]


def test_names_without_a_suffix_in_the_table(tmp_path):
    few(tmp_path, [["Image_(10)", "2(love)"]], "zh")
    write_images(tmp_path, "Cimages", "zh", only=[10])
    assert load_corpus(load_card("met-meme:zh"), tmp_path).stickers[0].path == "Cimages/Image- (10).jpg"


@pytest.mark.parametrize(
    "folders", [("images", "images"), ("English", "Chinese"), ("x/Eimages", "x/Cimages")]
)
def test_same_number_in_both_languages_stays_two(tmp_path, folders):
    for language, folder in zip(("en", "zh"), folders, strict=True):
        few(tmp_path, [meme(10, language=language)], language)
        write_images(tmp_path, folder, language, only=[10])
    found = [
        sticker.path.rpartition("/")[2] for sticker in load_corpus(load_card("met-meme"), tmp_path).stickers
    ]
    assert found == [name_on_disk("en", 10), name_on_disk("zh", 10)]


@pytest.mark.parametrize("card", ["met-meme:en", "met-meme"])
def test_missing_image_is_not_taken_from_the_other_language(tmp_path, card):
    few(tmp_path, [meme(9), meme(10)])
    few(tmp_path, [meme(10, language="zh")], "zh")
    write_images(tmp_path, "images", "en", only=[9])
    write_images(tmp_path, "images", "zh", only=[10])
    corpus = load_corpus(load_card(card), tmp_path)
    assert [name for name, _ in corpus.skipped] == ["English/image_ (10).jpg"]


def test_columns_are_taken_by_name_in_any_order(tmp_path):
    write_csv(
        tmp_path / "label_E.csv",
        [["sentiment degree", "Sentiment Category ", "file_name"], ["3(very)", "6(hate)", "image_ (1).jpg"]],
        encoding="utf-8",
    )
    write_images(tmp_path, "Eimages", "en", only=[1])
    assert load_corpus(load_card("met-meme:en"), tmp_path).stickers[0].label_name == "hate"
    assert load_corpus(load_card("met-meme:en:degree"), tmp_path).stickers[0].label_name == "very"


def test_missing_column_is_named(tmp_path):
    few(tmp_path, [meme(1)])
    with pytest.raises(ValueError, match=r"label_E\.csv lacks the column 'intention detection'"):
        load_corpus(load_card("met-meme:en:intention"), tmp_path)


@pytest.mark.parametrize(
    ("value", "label", "remark"),
    [
        ("2(love)", 1, ""),
        ("2 (love)", 1, ""),
        ("2（love）", 1, ""),
        ("2(Love )", 1, ""),
        ("love", 1, "a bare name"),
        ("2", 1, "a bare number"),
        ("1(love)", 1, "disagree"),
        ("2(adore)", 1, "by its number"),
        ("8(bliss)", None, "no label"),
        ("", None, "no label"),
        ("0", None, "no label"),
    ],
)
def test_value_of_a_cell(value, label, remark):
    found = read_value(value, load_card("met-meme").met_meme.tasks["sentiment"])
    assert found[0] == label
    assert remark in found[1] and bool(remark) == bool(found[1])


def test_value_that_is_none_is_a_problem_and_no_crash(tmp_path):
    few(tmp_path, [meme(1), meme(2, "?")])
    write_images(tmp_path, "Eimages", "en", only=[1, 2])
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert [sticker.label for sticker in corpus.stickers] == [1, None]
    assert "1 × '?'" in corpus.problems[0]


def test_duplicated_row_and_row_without_a_name(tmp_path):
    few(tmp_path, [meme(1), meme(1, "3(anger)"), ["", "1(happiness)"], ["", ""]])
    write_images(tmp_path, "Eimages", "en", only=[1])
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert [sticker.label_name for sticker in corpus.stickers] == ["love"]
    assert said(corpus, "1 name duplicated in label_E.csv, the first row counts") and said(
        corpus, "without a name"
    )


def test_texts_are_joined_by_number_and_orphans_said(tmp_path):
    texts = [["image_ (2).jpg", "two"], ["image_(1)", " one\n"], ["image_ (9).jpg", "nine"]]
    few(tmp_path, [meme(1), meme(2), meme(3)], texts=texts)
    write_images(tmp_path, "Eimages", "en", only=[1, 2, 3])
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert [sticker.text for sticker in corpus.stickers] == ["one", "two", None]
    assert said(corpus, "1 meme without a row in E_text.csv, 1 row of it without a meme")


def test_other_counts_than_the_authors_are_said(tmp_path):
    few(tmp_path, [meme(1)])
    write_images(tmp_path, "Eimages", "en", only=[1])
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert said(corpus, "1 rows, the authors' files have 4,000", "love 1, not 693")


GONE = (695, 696, 697, 698, 1853, 3874)


def copy_without(root, gone, texts_too=True):
    """A copy of the English half whose tables lack rows, as one that circulates does."""
    names = {name_in_table("en", number) for number in gone}
    rows = [row for row in label_rows("en") if row[0] not in names]
    write_csv(root / "label_E.csv", rows, encoding="gb2312", width=254)
    texts = [row for row in text_rows("en") if not texts_too or row[0] not in names]
    write_csv(root / "E_text.csv", texts, encoding="gb2312", width=245)
    write_images(root, "Eimages", "en", only=[number for number in range(4000) if number not in gone])
    return root


@pytest.mark.parametrize("texts_too", [True, False])
def test_copy_in_circulation_without_six_rows_is_named_and_passes(tmp_path, texts_too):
    copy_without(tmp_path, GONE, texts_too)
    corpus = load_corpus(load_card("met-meme:en:intention"), tmp_path)
    assert len(corpus.stickers) == 3994 and corpus.problems == () and corpus.skipped == ()
    assert said(corpus, "3,994 rows: this is the copy without 6 rows of the authors' 4,000 (the numbers 695,")
    assert not said(corpus, "the authors' files have")
    assert bool(said(corpus, "6 rows of it without a meme: those that some copies lack")) != texts_too


def test_copy_that_lacks_six_other_rows_is_not_taken_for_it(tmp_path):
    copy_without(tmp_path, (*GONE[:5], 12))
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert said(corpus, "3,994 rows, the authors' files have 4,000; of 'sentiment category' there are")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("image_ (2).jpg,2(love),3(very),1", "line 3: the row has 4 cells where the header has 3"),
        ("image_ (2).jpg,2(love)", "line 3: the row has 2 cells where the header has 3: complete it"),
        ('image_ (2).jpg,"2(love),3(very)', "line 3: a quotation mark is opened in it and never closed"),
        ('"image_ (2).jpg" x,2(love),3(very)', "line 3: a quotation mark stands inside a quoted text"),
    ],
)
def test_row_that_would_move_columns_is_refused_with_its_line(tmp_path, row, fault):
    lines = ["file_name,sentiment category,sentiment degree,,", "image_ (1).jpg,2(love),3(very),,", row]
    (tmp_path / "label_E.csv").write_text("\r\n".join([*lines, "image_ (3).jpg,2(love),3(very)", ""]))
    write_images(tmp_path, "Eimages", "en", only=[1, 2, 3])
    with pytest.raises(ValueError, match=r"label_E\.csv, ") as refused:
        load_corpus(load_card("met-meme:en"), tmp_path)
    assert fault in str(refused.value)


def test_rows_without_the_empty_last_columns_are_read(tmp_path):
    (tmp_path / "label_E.csv").write_text(
        "file_name,sentiment category,,\r\nimage_ (1).jpg,2(love)\r\nimage_ (2).jpg,3(anger),\r\n"
    )
    write_images(tmp_path, "Eimages", "en", only=[1, 2])
    corpus = load_corpus(load_card("met-meme:en"), tmp_path)
    assert [one.label_name for one in corpus.stickers] == ["love", "anger"]
    assert said(corpus, "2 columns without a name passed by")


def test_text_that_swallows_rows_is_refused(tmp_path):
    few(tmp_path, [meme(number) for number in (1, 2, 3)])
    (tmp_path / "E_text.csv").write_text(
        'file_name,text\nimage_ (1).jpg,"never closed\nimage_ (2).jpg,two\nimage_ (3).jpg,"three"\n'
    )
    write_images(tmp_path, "Eimages", "en", only=[1, 2, 3])
    with pytest.raises(ValueError, match=r"E_text\.csv, line 2: "):
        load_corpus(load_card("met-meme:en"), tmp_path)


def test_language_without_a_table_is_named_with_the_way_out(tmp_path):
    few(tmp_path, [meme(1)])
    with pytest.raises(
        FileNotFoundError, match=r"label_C\.csv .*for English alone take the card 'met-meme:en'"
    ):
        load_corpus(load_card("met-meme"), tmp_path)


def test_archive_that_is_not_unpacked_is_named(tmp_path):
    few(tmp_path, [meme(1)])
    (tmp_path / "Eimages.rar").touch()
    with pytest.raises(FileNotFoundError, match=r"has no images .* unpack Eimages\.rar"):
        load_corpus(load_card("met-meme:en"), tmp_path)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("image_ (0).jpg", 0),
        ("Image- (10).jpg", 10),
        ("Image_(6045)", 6045),
        ("image_10.jpg", 10),
        ("12.png", 12),
        ("E_image_ (3).jpg", 3),
        ("Chinese/Image- (7).jpg", 7),
        ("image.jpg", None),
        ("1_2.jpg", None),
    ],
)
def test_number_in_a_name(name, number):
    assert number_of(name) == number
