"""Hugging Face data sets become files, a table and a card; nothing of them is run or fetched."""

import io
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sticker_files import half, heic, square, tgs, webm

from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.import_hf import Columns, import_data_set
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.images.decode import decode_image

ROOT = Path(__file__).parents[3]


def encoded(shade, kind="PNG", mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, (2, 2), shade).save(content, kind)
    return content.getvalue()


def rows(*shades, kind="PNG", label=None):
    images = [{"bytes": encoded((shade, 0, 0), kind), "path": None} for shade in shades]
    return {
        "image": images,
        "emotion": label or [shade % 2 for shade in shades],
        "caption": ["hi"] * len(shades),
    }


def data_set(content, label=None):
    features = {
        "image": datasets.Image(),
        "emotion": label or datasets.ClassLabel(names=["joy", "anger"]),
        "caption": datasets.Value("string"),
    }
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


@pytest.fixture
def saved(tmp_path):
    parts = {"train": data_set(rows(0, 1, 2)), "val": data_set(rows(3, kind="JPEG"))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_stickers_of_chat_services_keep_their_bytes_and_get_their_suffix(tmp_path):
    contents = [tgs(square((255, 0, 0))), webm([half((0, 0, 255))]), heic(Image.new("RGB", (16, 16)))]
    table = {"image": [{"bytes": one, "path": None} for one in contents], "emotion": [0, 1, 0]}
    data_set({**table, "caption": ["hi"] * 3}).to_parquet(tmp_path / "train.parquet")
    import_data_set(str(tmp_path / "train.parquet"), tmp_path / "out", Columns())
    stickers = read(tmp_path / "out").stickers
    assert [Path(sticker.path).suffix for sticker in stickers] == [".tgs", ".webm", ".heic"]
    assert [(tmp_path / "out" / sticker.path).read_bytes() for sticker in stickers] == contents


def read(out):
    return load_corpus(load_card(out / "card.md"), out)


def test_saved_data_set_becomes_a_corpus(saved, tmp_path):
    done = import_data_set(str(saved), tmp_path / "out", Columns())
    found = [(s.id, s.split, s.label, s.label_name, s.text) for s in read(tmp_path / "out").stickers]
    assert done.rows == 4
    assert found == [
        ("images/train/000000.png", "train", 0, "joy", "hi"),
        ("images/train/000001.png", "train", 1, "anger", "hi"),
        ("images/train/000002.png", "train", 0, "joy", "hi"),
        ("images/val/000000.jpg", "validation", 1, "anger", "hi"),
    ]


def test_bytes_of_the_images_stay_as_they_are(saved, tmp_path):
    import_data_set(str(saved), tmp_path / "out", Columns())
    assert (tmp_path / "out/images/val/000000.jpg").read_bytes() == encoded((3, 0, 0), "JPEG")
    assert decode_image(tmp_path / "out", "images/train/000002.png").getpixel((0, 0)) == (2, 0, 0)


def test_one_saved_split_and_labels_as_text(tmp_path):
    content = rows(0, 1, 2, label=["sad", "happy", "sad"])
    data_set(content, datasets.Value("string")).save_to_disk(tmp_path / "saved")
    import_data_set(str(tmp_path / "saved"), tmp_path / "out", Columns())
    corpus = read(tmp_path / "out")
    assert corpus.card.labels == ("happy", "sad")
    assert [sticker.label_name for sticker in corpus.stickers] == ["sad", "happy", "sad"]


@pytest.mark.parametrize("whole", [True, False])
def test_parquet_with_images_inside(tmp_path, whole):
    (tmp_path / "data").mkdir()
    data_set(rows(0, 1)).to_parquet(tmp_path / "data" / "train.parquet")
    source = tmp_path / "data" if whole else tmp_path / "data" / "train.parquet"
    assert import_data_set(str(source), tmp_path / "out", Columns()).rows == 2


def test_image_outside_the_data_set_and_broken_ones_are_left_out(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded((9, 9, 9)))
    content = rows(0, 1, 2)
    content["image"][0] = {"bytes": None, "path": str(secret)}
    content["image"][1] = {"bytes": b"%!PS no picture", "path": None}
    data_set(content).to_parquet(tmp_path / "d.parquet")
    done = import_data_set(str(tmp_path / "d.parquet"), tmp_path / "out", Columns())
    assert [reason for _, reason in done.skipped] == [
        "the data set does not hold the image itself",
        "its image cannot be read",
    ]
    assert [path.name for path in (tmp_path / "out/images").rglob("*.png")] == ["000002.png"]


def test_columns_can_be_named(tmp_path):
    content = rows(0, 1)
    content["mood"] = content.pop("emotion")
    data_set_ = datasets.Dataset.from_dict(content).cast_column("image", datasets.Image())
    data_set_.save_to_disk(tmp_path / "saved")
    with pytest.raises(
        ValueError, match=r"no column that is clearly the label \(it has: image, caption, mood\)"
    ):
        import_data_set(str(tmp_path / "saved"), tmp_path / "out", Columns())
    done = import_data_set(str(tmp_path / "saved"), tmp_path / "out", Columns(label="mood"))
    assert done.labels == ["0", "1"]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (Columns(label="nope"), r"no column 'nope' for --label"),
        (Columns(image="caption"), "no column of images"),
    ],
)
def test_column_that_is_not_there(saved, tmp_path, columns, reason):
    with pytest.raises(ValueError, match=reason):
        import_data_set(str(saved), tmp_path / "out", columns)


def test_folder_in_use_is_left_alone(saved, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ValueError, match="out already exists and is not empty"):
        import_data_set(str(saved), tmp_path / "out", Columns())


def test_killed_import_leaves_no_half_corpus_and_the_next_begins_anew(saved, tmp_path):
    out = tmp_path / "out"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from mghft.pipeline.corpora.import_hf import Columns, import_data_set\n"
        "def die(done, total):\n    if done == 2:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "import_data_set(sys.argv[1], Path(sys.argv[2]), Columns(), progress=die)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved), str(out)], cwd=ROOT)
    assert done.returncode == -9
    assert not out.exists() and (tmp_path / ".out.new" / "images" / "train" / "000001.png").is_file()
    seen = []
    assert import_data_set(str(saved), out, Columns(), progress=lambda *n: seen.append(n)).rows == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "saved"]
    assert len(read(out).stickers) == 4


def test_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no saved data set"):
        import_data_set(str(tmp_path), tmp_path / "out", Columns())


def test_code_beside_the_data_is_not_run(tmp_path):
    folder = tmp_path / "script"
    folder.mkdir()
    mark = tmp_path / "ran"
    (folder / "script.py").write_text(f"open({str(mark)!r}, 'w')\n")
    data_set(rows(0, 1)).to_parquet(folder / "train.parquet")
    import_data_set(str(folder), tmp_path / "out", Columns())
    assert not mark.exists()


def test_row_without_a_label_stays_without(tmp_path):
    data_set(rows(0, 1, 2, label=[0, -1, 1])).save_to_disk(tmp_path / "saved")
    import_data_set(str(tmp_path / "saved"), tmp_path / "out", Columns())
    assert [sticker.label for sticker in read(tmp_path / "out").stickers] == [0, None, 1]


def test_several_labels_in_a_row_are_refused(tmp_path):
    labels = datasets.List(datasets.Value("string"))
    data_set(rows(0, label=[["joy", "love"]]), labels).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="holds no single label in each row"):
        import_data_set(str(tmp_path / "saved"), tmp_path / "out", Columns())


def test_parquet_of_pandas_with_bytes_or_structs_is_imported(tmp_path):
    pictures = [encoded((shade, 0, 0)) for shade in range(4)]
    as_structs = [{"bytes": picture, "path": f"{n}.png"} for n, picture in enumerate(pictures)]
    for name, column in (("bytes", pictures), ("structs", as_structs)):
        frame = pd.DataFrame({"thumb": [b"no picture"] * 4, "pic": column, "label": ["joy", "anger"] * 2})
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "train.parquet")
        imported = import_data_set(str(tmp_path / name), tmp_path / f"out-{name}", Columns())
        assert (imported.rows, imported.columns.image, imported.labels) == (4, "pic", ["anger", "joy"])
        first = tmp_path / f"out-{name}" / "images" / "train" / "000000.png"
        assert first.read_bytes() == pictures[0]


def test_large_binary_column_as_polars_writes_it_is_imported(tmp_path):
    pictures = pa.array([encoded((shade, 0, 0)) for shade in range(4)], pa.large_binary())
    table = pa.table({"image": pictures, "label": pa.array(["joy", "anger"] * 2, pa.large_string())})
    pq.write_table(table, tmp_path / "stickers.parquet")
    imported = import_data_set(str(tmp_path / "stickers.parquet"), tmp_path / "out", Columns())
    assert imported.rows == 4


def test_bytes_that_are_no_images_are_no_column_of_images(tmp_path):
    frame = pd.DataFrame({"blob": [b"abc", b"def"], "label": ["joy", "anger"]})
    frame.to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="has no column of images"):
        import_data_set(str(tmp_path / "train.parquet"), tmp_path / "out", Columns())


@pytest.mark.parametrize("folder", ["stickers [old]", "v1*", "what?"])
def test_name_that_reads_like_a_pattern_is_a_name(tmp_path, folder):
    inside = tmp_path / folder / "deep [2]"
    inside.mkdir(parents=True)
    data_set(rows(0, 1)).to_parquet(tmp_path / folder / "train-[a].parquet")
    data_set(rows(2, 3)).to_parquet(inside / "train-_a_.parquet")
    whole = import_data_set(str(tmp_path / folder), tmp_path / "whole", Columns())
    one = import_data_set(str(tmp_path / folder / "train-[a].parquet"), tmp_path / "one", Columns())
    assert (whole.rows, one.rows) == (4, 2)
