"""What is odd about a copy of a corpus reaches every command once, and `data check` can name all of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from bad_server import GOOD, BadServer
from met_meme_copy import write_csv, write_images
from PIL import Image

from mghft.pipeline.corpora.adapters import folder as folder_adapter


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folders of two classes in splits, beside them what no program takes for a picture."""
    root = tmp_path / "pictures"
    for split, count in (("train", 6), ("val", 4), ("test", 4)):
        for number in range(count):
            path = root / split / ("joy", "fear")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (40 * number, len(split), 9)).save(path)
    (root / "train" / "joy" / "anim.psd").write_bytes(b"8BPS")
    (root / "train" / "joy" / "notes.txt").write_text("drawn by hand")
    (root / "loose.png").write_bytes(b"")
    return root


SAID = "note: folder: left out, 2 files without the suffix of an image that is read"


@pytest.mark.parametrize(
    "command",
    [
        ("data", "stats", "folder"),
        ("data", "duplicates", "folder", "--out", "duplicates"),
        ("data", "split", "folder", "--out", "own.csv"),
        ("train", "folder", "--no-text", "--recipe", "cpu", "--dry-run", "--set", "model.preset=tiny"),
    ],
)
def test_notes_reach_commands_once_on_stderr(mghft: Any, pictures: Path, command: tuple[str, ...]) -> None:
    done = mghft(*command, "--data", pictures, *(("--out", "run") if command[0] == "train" else ()))
    assert done.code == 0, done.err
    assert done.err.count(SAID) == 1 and SAID not in done.out
    assert done.err.count("note: folder: left out, 1 image beside the classes' folders: loose.png") == 1


def test_describe_says_which_files_of_a_folder_are_not_taken(mghft: Any, pictures: Path) -> None:
    with BadServer(lambda number, seen: GOOD) as server:
        options = ["--engine", "openai", "--model", "painter", "--base-url", server.url]
        done = mghft("describe", "folder", "--data", pictures, "--out", "run", *options)
    assert done.code == 0, done.err
    assert done.err.count(SAID) == 1
    assert "1 .psd" in done.err and "1 .txt" in done.err


def test_notes_are_on_stdout_of_the_check_alone(mghft: Any, pictures: Path) -> None:
    done = mghft("data", "check", "folder", "--data", pictures)
    assert "note: left out, 2 files without the suffix" in done.out and "note:" not in done.err


def test_check_lists_a_corpus_once(mghft: Any, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from mghft import cli

    calls: list[Path] = []
    read = folder_adapter.read
    monkeypatch.setattr(folder_adapter, "read", lambda card, root: (calls.append(root), read(card, root))[1])
    done = CliRunner().invoke(cli.app, ["data", "check", "folder", "--data", str(pictures), "--fast"])
    assert done.exit_code == 0 and len(calls) == 1


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    """Twelve memes, seven of them without an image and one with a damaged one."""
    root = tmp_path / "memes"
    rows = [[f"image_ ({i}).jpg", f"{1 + i % 7}(x)"] for i in range(12)]
    write_csv(root / "label_E.csv", [["file_name", "sentiment category"], *rows], encoding="gbk")
    write_images(root, "Eimages", "en", only=list(range(5)))
    (root / "Eimages" / "image_ (3).jpg").unlink()
    (root / "Eimages" / "image_ (3).jpg").write_bytes(b"\xff\xd8\xff no more")
    return root


def test_all_that_is_left_out_is_written_with_reasons(mghft: Any, memes: Path, tmp_path: Path) -> None:
    plain = mghft("data", "check", "met-meme:en", "--data", "memes")
    assert "and 4 more" in plain.out and "--left-out FILE" in plain.out
    done = mghft("data", "check", "met-meme:en", "--data", "memes", "--left-out", "out/missing.csv")
    assert done.code == 1 and "written: out/missing.csv (8 stickers)" in done.out
    with (tmp_path / "out" / "missing.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [f"English/image_ ({i}).jpg" for i in range(5, 12)]
    assert [row["name"] for row in rows] == [*missing, "English/image_ (3).jpg"]
    assert {row["reason"] for row in rows[:7]} == {"its image is missing"}
    assert "damaged" in rows[7]["reason"]


def test_list_of_what_is_left_out_is_not_written_over_another(
    mghft: Any, memes: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    command = ("data", "check", "met-meme:en", "--data", "memes", "--left-out", "mine.csv")
    refused = mghft(*command)
    assert refused.code == 2
    assert "the file mine.csv already exists: give another with --left-out, or replace" in refused.err
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert mghft(*command, "--force").code == 1


def test_strict_check_writes_the_list_too(mghft: Any, memes: Path, tmp_path: Path) -> None:
    command = ("data", "check", "met-meme:en", "--data", "memes", "--strict")
    assert "--left-out FILE lists all" in mghft(*command).err
    done = mghft(*command, "--left-out", "all.csv")
    assert done.code == 2 and (tmp_path / "all.csv").is_file()
