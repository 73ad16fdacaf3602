"""Data cards: the shipped ones load, and a bad one is answered with file, field and reason."""

import pytest

from pipeline.cards import card_names, load_card

TABLE = """\
adapter: table
file: a.csv
columns: {path: path, label: label}
labels: [anger, joy]
"""


def write(folder, block, front="pretty_name: A corpus"):
    path = folder / "mine.md"
    indented = "".join(f"  {line}\n" for line in block.splitlines())
    path.write_text(f"---\n{front}\nmghft:\n{indented}---\n# A corpus\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", card_names())
def test_shipped_cards_load(name):
    assert load_card(name).name == name


def test_labels_of_ser30k_are_alphabetical():
    labels = load_card("ser30k").labels
    assert labels == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def test_card_by_path(tmp_path):
    card = load_card(write(tmp_path, TABLE))
    assert (card.name, card.title, card.labels) == ("mine", "A corpus", ("anger", "joy"))


def test_unknown_card_names_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match=r"no data card 'nope'.*emoji"):
        load_card("nope")


def test_missing_file_is_no_traceback_of_open(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data card"):
        load_card(tmp_path / "gone.md")


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (TABLE.replace("adapter: table", "adapter: magic"), "adapter"),
        (TABLE.replace("[anger, joy]", "anger"), "labels"),
        (TABLE.replace("[anger, joy]", "[anger]"), "labels"),
        (TABLE.replace("[anger, joy]", "[yes, joy]"), r"labels\.0"),
        (TABLE.replace("label: label", "lable: label"), r"columns\.lable"),
        (TABLE + "counts: {train: many}\n", r"counts\.train"),
        (TABLE + "split: 3\n", "split"),
    ],
)
def test_malformed_field_is_named(tmp_path, block, field):
    with pytest.raises(ValueError, match=rf"mine\.md is malformed at '{field}'"):
        load_card(write(tmp_path, block))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("adapter: table\nlabels: [a, b]\n", "needs the fields 'file' and 'columns'"),
        (TABLE.replace("joy", "anger"), "names a label twice"),
        (TABLE + "label_counts: {test: {anger: 3}}\n", r"label_counts\.test"),
    ],
)
def test_fields_that_do_not_fit_together(tmp_path, block, reason):
    with pytest.raises(ValueError, match=reason):
        load_card(write(tmp_path, block))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("# no front matter\n", "does not begin with front matter"),
        ("", "does not begin with front matter"),
        ("---\na: b\n", "does not begin with front matter"),
        ("---\na: [b\n---\n", "no valid YAML"),
        ("---\n- a\n---\n", "is no mapping"),
        ("---\na: b\n---\n", "no 'mghft:' block"),
        ("---\nmghft: table\n---\n", "no 'mghft:' block"),
        ("---\nmghft: !!python/object/apply:os.getcwd []\n---\n", "no valid YAML"),
    ],
)
def test_bad_front_matter(tmp_path, text, reason):
    path = tmp_path / "bad.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"bad\.md.*{reason}"):
        load_card(path)


def test_card_that_is_no_text(tmp_path):
    path = tmp_path / "bad.md"
    path.write_bytes(b"---\n\xff\xfe\n---\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        load_card(path)


@pytest.mark.parametrize("encode", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
def test_card_saved_on_windows(tmp_path, encode):
    path = write(tmp_path, TABLE)
    path.write_bytes(encode(path.read_text(encoding="utf-8")).encode("utf-8"))
    assert load_card(path).labels == ("anger", "joy")
