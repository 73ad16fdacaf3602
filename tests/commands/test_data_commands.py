"""Commands on corpora as a person calls them: check, split, import, list, show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from met_meme_copy import write_csv, write_images
from PIL import Image
from ser30k_copy import row, write
from typer.testing import CliRunner

from mghft import cli
from mghft.train.config import load_config
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import build_eval_config
from mghft.train.trainer.trainer import train

Call = Callable[..., Any]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Calls a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    yield lambda *arguments: CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    logging.getLogger("mghft.pipeline.corpora.load").setLevel(logging.NOTSET)


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    """Twenty memes of each language, one of them without an image; pictures are all alike."""
    root = tmp_path / "memes"
    for language, letter, name in (("en", "E", "image_ ({}).jpg"), ("zh", "C", "Image_({}).jpg")):
        header = ["file_name", "sentiment category", "metaphor occurrence"]
        rows = [[name.format(i), f"{1 + i % 7}(x)", str(i % 2)] for i in range(1, 21)]
        write_csv(root / f"label_{letter}.csv", [header, *rows], encoding="gbk")
        write_images(root, f"{letter}images", language, only=list(range(1 + (letter == "C"), 21)))
    return root


def test_check_tells_notes_votes_and_what_is_left_out(call: Call, tmp_path: Path) -> None:
    write(tmp_path / "ser", lambda split: [row(split)])
    (tmp_path / "ser/Images/09-panda/val_1.jpg").unlink()
    out = call("data", "check", "ser30k", "--data", "ser").output
    assert "note: there are 3 stickers in its files, the card says 30,739" in out
    assert "note: 3 annotators on 2 stickers: all agree on 0.0%, more than half on 100.0%" in out
    assert "left out: 1 (its image is missing): Images/09-panda/val_1.jpg" in out


def test_strict_check_refuses(call: Call, tmp_path: Path) -> None:
    write(tmp_path / "ser", lambda split: [row(split)])
    (tmp_path / "ser/Images/09-panda/val_1.jpg").unlink()
    result = call("data", "check", "ser30k", "--data", "ser", "--strict")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 1 of 3 stickers of the corpus ser30k cannot be used")


def test_check_of_labels_found_in_the_data_counts_them(call: Call, tmp_path: Path) -> None:
    write_images(tmp_path, "pictures/joy", "en", only=[1, 2])
    write_images(tmp_path, "pictures/anger", "en", only=[3])
    assert "all: 3 stickers (anger 1, joy 2)" in call("data", "check", "folder", "--data", "pictures").output


def test_split_is_written_read_and_not_written_over(call: Call, memes: Path) -> None:
    command = ("data", "split", "met-meme", "--data", "memes", "--ignore-duplicates")
    first = call(*command, "--seed", 5)
    assert first.exit_code == 0, first.output
    assert "train 23, validation 8, test 8; 39 ids" in first.output
    assert (
        "the splits are those of memes/mghft-split.csv"
        in call("data", "check", "met-meme:metaphor", "--data", "memes").output
    )
    again = call(*command)
    assert again.exit_code == 2 and "already exists" in again.stderr
    written = (memes / "mghft-split.csv").read_text()
    assert call(*command, "--seed", 5, "--force").exit_code == 0
    assert (memes / "mghft-split.csv").read_text() == written


@pytest.fixture
def twins(tmp_path: Path) -> Path:
    """Forty pictures of two classes, twelve of them in pairs under other names and formats."""
    root = tmp_path / "twins"
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = root / ("joy", "fear")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        image.save(folder / f"{number:02d}.png")
        if number < 12:
            image.save(folder / f"copy of {number:02d}.bmp")
    return root


def pairs_torn(file: Path) -> int:
    split = dict(line.split(",") for line in file.read_text().splitlines() if "/" in line)
    names = [name for name in split if "copy of" in name]
    return sum(split[name] != split[name.replace("copy of ", "").replace("bmp", "png")] for name in names)


def test_split_keeps_equal_pictures_together(call: Call, twins: Path, tmp_path: Path) -> None:
    result = call("data", "split", "folder", "--data", "twins", "--out", "own.csv")
    assert result.exit_code == 0, result.output
    assert "by subset and label, 12 groups of equal pictures kept together" in result.stdout
    plain = call("data", "split", "folder", "--data", "twins", "--out", "plain.csv", "--ignore-duplicates")
    assert plain.exit_code == 0 and "groups" not in plain.stdout
    assert pairs_torn(tmp_path / "own.csv") == 0 < pairs_torn(tmp_path / "plain.csv")
    assert "problem" not in call("data", "check", "folder@own.csv", "--data", "twins").stdout
    line = "train 31, validation 11, test 10; 52 ids"
    assert line in result.stdout and line in plain.stdout


def test_split_of_a_corpus_without_equal_pictures_is_that_of_before(
    call: Call, twins: Path, tmp_path: Path
) -> None:
    for path in twins.glob("*/copy*"):
        path.unlink()
    for name, more in (("a.csv", ()), ("b.csv", ("--ignore-duplicates",))):
        assert call("data", "split", "folder", "--data", "twins", "--out", name, *more).exit_code == 0
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_equal_pictures_that_reach_into_a_kept_split_are_said(
    call: Call, twins: Path, tmp_path: Path
) -> None:
    split = ["id,split", "joy/copy of 00.bmp,test"]
    names = sorted(f"{path.parent.name}/{path.name}" for path in twins.glob("*/*"))
    split += [f"{name},train" for name in names if name != "joy/copy of 00.bmp"]
    (tmp_path / "first.csv").write_text("\n".join(split))
    options = ["--keep", "test", "--ratio", "8:2:0", "--out", "own.csv"]
    result = call("data", "split", "folder@first.csv", "--data", "twins", *options)
    assert result.exit_code == 0
    assert "note: 1 group of equal pictures also in a split that is kept: joy/00.png" in result.stderr


def test_split_of_one_language_says_what_the_other_loses(call: Call, memes: Path) -> None:
    result = call("data", "split", "met-meme:zh", "--data", "memes", "--ignore-duplicates")
    assert result.exit_code == 0
    assert (
        "names met-meme:zh alone" in result.stderr and "'mghft data split met-meme --force'" in result.stderr
    )


def test_split_of_a_corpus_with_authors_splits_needs_a_place(call: Call, tmp_path: Path) -> None:
    write(tmp_path / "ser", lambda split: [row(split, file_name=f"{split}_{i}.jpg") for i in range(10)])
    refused = call("data", "split", "ser30k", "--data", "ser")
    assert refused.exit_code == 2 and "'ser30k@FILE'" in refused.stderr
    options = [
        "--out",
        "own.csv",
        "--keep",
        "test",
        "--keep",
        "val",
        "--ratio",
        "1:0:1",
        "--ignore-duplicates",
    ]
    assert call("data", "split", "ser30k", "--data", "ser", *options).exit_code == 0
    out = call("data", "check", "ser30k@own.csv", "--data", "ser").output
    assert "train 5, validation 10, test 15" in out


def test_split_that_cannot_be_kept(call: Call, memes: Path) -> None:
    result = call("data", "split", "met-meme", "--data", "memes", "--keep", "test")
    assert result.exit_code == 2 and "no sticker in the split 'test'; it has: all" in result.stderr


def test_training_without_a_split_names_the_command(call: Call, memes: Path) -> None:
    result = call("train", "met-meme", "--data", "memes", "--no-text", "--out", "run", "--recipe", "cpu")
    assert result.exit_code == 2 and "'mghft data split' makes splits" in result.stderr


def test_import_makes_a_corpus_that_passes_its_check(call: Call, memes: Path, tmp_path: Path) -> None:
    pictures = [str(path) for path in sorted((memes / "Eimages").iterdir())[:4]]
    content = {"image": pictures, "label": ["joy", "anger", "joy", "anger"]}
    datasets.Dataset.from_dict(content).cast_column("image", datasets.Image()).save_to_disk(
        tmp_path / "saved"
    )
    result = call("data", "import", "saved", "--out", "mine")
    assert result.exit_code == 0, result.output
    assert "4 images; image from 'image', label from 'label'" in result.output
    found = call("data", "check", "mine/card.md", "--data", "mine")
    assert "all: 4 stickers (anger 2, joy 2)" in found.output


def test_list_tells_licences_and_variants(call: Call) -> None:
    out = call("data", "list").output
    assert "SER30K: 7 labels; 10K<n<100K; licence other" in out
    assert "met-meme:zh" in out
    assert "Your own images in folders: labels found in the data" in out


def test_show_prints_the_card_of_a_variant(call: Call) -> None:
    assert "# MET-Meme" in call("data", "show", "met-meme:zh:degree").output


def test_variant_trains_and_is_evaluated_by_its_name(call: Call, memes: Path, tmp_path: Path) -> None:
    assert call("data", "split", "met-meme:metaphor", "--data", "memes", "--ignore-duplicates").exit_code == 0
    overrides = {
        "card": "met-meme:metaphor",
        "data": memes,
        "out": tmp_path / "run",
        "cache_dir": tmp_path / "cache",
        "use_text": False,
        "epochs": 1,
        "warmup_epochs": 0,
        "workers": 0,
        "num_threads": 1,
        "progress": False,
        "model.preset": "tiny",
    }
    train(load_config("cpu", None, overrides))
    report = evaluate(build_eval_config({"runs": [tmp_path / "run"], "out": tmp_path / "report"}))
    assert report.labels == ["literal", "metaphorical"]
    assert set(report.splits["test"]) == {"all", "en", "zh"}
