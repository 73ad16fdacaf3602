"""Data cards: the shipped ones load, and a bad one is answered with file, field and reason."""

import pytest
from huggingface_hub import DatasetCard, DatasetCardData

from mghft.pipeline.corpora.card import card_names, load_card

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
    with pytest.raises(FileNotFoundError, match=r"the data card 'nope' does not exist.*emoji"):
        load_card("nope")


def test_missing_file_is_no_traceback_of_open(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the data card .*gone\.md' does not exist"):
        load_card(tmp_path / "gone.md")


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        (TABLE.replace("adapter: table", "adapter: magic"), "is wrong at adapter: "),
        (TABLE.replace("[anger, joy]", "anger"), "is wrong at labels: "),
        (TABLE.replace("[anger, joy]", "[anger]"), "is wrong at labels: needs at least two labels"),
        (TABLE.replace("[anger, joy]", "[yes, joy]"), r"is wrong at labels\.0: "),
        (TABLE.replace("adapter: table", ""), "lacks the field 'adapter'"),
        (TABLE.replace("label: label", "lable: label"), r"has no field 'columns\.lable'"),
        (TABLE + "counts: {train: many}\n", r"is wrong at counts\.train: "),
        (TABLE + "split: 3\n", "has no field 'split'"),
        (
            TABLE.replace("label: label", "label: label, part: a, subset: b"),
            r"has no field 'columns\.part'",
        ),
    ],
)
def test_malformed_field_is_named(tmp_path, block, fault):
    with pytest.raises(ValueError, match=rf"the data card mine\.md {fault}"):
        load_card(write(tmp_path, block))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("adapter: met_meme\n", "needs the field 'met_meme'"),
        ("adapter: fi\n", "needs the field 'labels'"),
        ("adapter: met_meme\nmet_meme: {task: mood, tasks: {}}\n", "met_meme: the task 'mood' is not one of"),
        (
            "adapter: met_meme\n"
            "met_meme: {task: a, tasks: {a: {column: c, labels: [x, y], aliases: {z: w}}}}\n",
            r"tasks\.a: the alias of 'w' is of no label among x, y",
        ),
        (TABLE.replace("joy", "anger"), "labels: a label is duplicated"),
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


def test_every_shipped_card_is_a_dataset_card():
    for name in card_names():
        path = load_card(name).source
        data = DatasetCard.load(path, ignore_metadata_errors=False).data
        assert isinstance(data, DatasetCardData) and data.pretty_name and data.task_categories
        # Words of the hub's specification of dataset cards.
        assert set(data.task_categories) <= {"image-classification"}
        assert set(data.size_categories or []) <= {"n<1K", "1K<n<10K", "10K<n<100K"}
        assert set(data.source_datasets or []) <= {"original"}
        assert set(data.annotations_creators or []) <= {"expert-generated", "crowdsourced"}
        licences = data.license if isinstance(data.license, list) else [data.license]
        assert set(licences) <= {"apache-2.0", "mit", "cc-by-4.0", "other", "unknown"}
        assert "other" not in licences or (data.to_dict()["license_name"] and data.to_dict()["license_link"])


@pytest.mark.parametrize("name", ["emoji", "ser30k", "met-meme", "fi", "emotion-roi"])
def test_card_of_a_published_corpus_tells_size_and_citation(name):
    card = DatasetCard.load(load_card(name).source)
    assert card.data.size_categories
    assert "## Citation" in card.text


@pytest.mark.parametrize("name", ["emoji", "fi"])
def test_splits_for_the_hub_are_the_splits_that_are_checked(name):
    card = load_card(name)
    info = DatasetCard.load(card.source).data.to_dict()["dataset_info"]
    assert {split["name"]: split["num_examples"] for split in info["splits"]} == card.counts


def test_counts_of_every_met_meme_task_add_up():
    tasks = load_card("met-meme").met_meme.tasks
    sums = {(name, lang): sum(found) for name, task in tasks.items() for lang, found in task.counts.items()}
    assert set(sums.values()) == {4000, 6045} and len(sums) == 10
    assert all(len(found) == len(task.labels) for task in tasks.values() for found in task.counts.values())


def test_variants_change_language_and_task_in_any_order():
    one, other = load_card("met-meme:zh:metaphor"), load_card("met-meme:metaphor:zh")
    assert one.labels == other.labels == ("literal", "metaphorical")
    assert one.met_meme == other.met_meme and one.met_meme.languages == ("zh",)
    assert one.name == "met-meme:zh:metaphor"


def test_unknown_variant_names_those_there_are():
    with pytest.raises(ValueError, match=r"met-meme\.md has no variant 'fr' \(it has: en, zh, sentiment"):
        load_card("met-meme:fr")


def test_card_without_variants():
    with pytest.raises(ValueError, match=r"ser30k\.md has no variant 'en' \(it has: none\)"):
        load_card("ser30k:en")


@pytest.mark.parametrize("splits", ["own.csv", "a b/x*.csv", "/data/me@home/s.csv", "C:/s.csv"])
def test_splits_behind_the_card(splits):
    assert load_card(f"emoji@{splits}").splits_from == splits


def test_card_whose_path_looks_like_a_reference(tmp_path):
    folder = tmp_path / "a.md:b@c"
    folder.mkdir()
    assert load_card(write(folder, TABLE)).labels == ("anger", "joy")


def test_variant_of_a_card_by_path(tmp_path):
    path = write(tmp_path, TABLE + "variants: {few: {file: few.csv}}\n")
    card = load_card(f"{path}:few@s.csv")
    assert (card.file, card.name, card.splits_from) == ("few.csv", "mine:few", "s.csv")


def test_variant_may_change_the_counts_of_a_label_with_a_dot_in_it(tmp_path):
    counts = "label_counts: {{test: {{a.b: {}, joy: 1}}}}"
    block = (
        TABLE.replace("anger", "a.b") + counts.format(1) + "\nvariants: {few: {" + counts.format(2) + "}}\n"
    )
    assert load_card(f"{write(tmp_path, block)}:few").label_counts == {"test": {"a.b": 2, "joy": 1}}


@pytest.mark.parametrize("name", ["subset", "part"])
def test_column_of_subsets_by_its_name_and_by_its_earlier_one(tmp_path, name):
    card = load_card(write(tmp_path, TABLE.replace("label: label", f"label: label, {name}: group")))
    assert card.columns.subset == "group"
