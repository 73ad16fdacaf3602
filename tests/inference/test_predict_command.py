"""`mghft predict`: what files are taken, what is written, and that killed commands go on where they were."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from browser import layout, needs_chromium
from PIL import Image
from squares import LABELS, World
from typer.testing import CliRunner, Result

from mghft.cli import app
from mghft.inference.journal import PredictionJournal
from mghft.inference.prediction import Prediction

Predict = Callable[..., Result]


@pytest.fixture
def predict() -> Predict:
    def call(*arguments: object, lines: str = "") -> Result:
        return CliRunner().invoke(app, ["predict", *map(str, arguments), "--workers", "0"], input=lines)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures and other files, one of them hidden, one broken, one with an odd name."""
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.JPG", "deep/c.webp", "=sum(1).png"):
        pixels = rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "notes.txt").write_text("words")
    (root / ".hidden.png").write_bytes(b"x")
    return root


def test_table_on_the_terminal(predict: Predict, blind: Path, folder: Path) -> None:
    result = predict(folder / "a.png", folder / "broken.png", "--weights", blind)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    label, share, name = first.split()
    assert label in LABELS and share.endswith("%") and name.endswith("a.png")
    assert "broken.png: the image is damaged" in second
    assert "1 picture cannot be read" in result.stderr


def test_folder_takes_pictures_and_says_what_it_passes_by(
    predict: Predict, blind: Path, folder: Path
) -> None:
    result = predict(folder, "--weights", blind, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    names = [Path(row["name"]).name for row in rows]
    assert names == ["=sum(1).png", "a.png", "b.JPG", "broken.png", "c.webp"]
    assert "1 files of the folders are called like no picture" in result.stderr
    assert [row["label"] is None for row in rows] == [False, False, False, True, False]
    for row in rows:
        assert row["label"] is None or sum(row["probabilities"].values()) == pytest.approx(1)


def test_patterns_and_lists(predict: Predict, blind: Path, folder: Path) -> None:
    by_pattern = predict(folder / "**" / "*.webp", "--weights", blind)
    assert by_pattern.stdout.count("\n") == 1 and "c.webp" in by_pattern.stdout
    listed = predict("-", "--weights", blind, lines=f"{folder / 'a.png'}\r\n\n{folder / 'gone.png'}\n")
    assert listed.stdout.count("\n") == 2 and "the file is missing" in listed.stdout
    # Named, a file is taken whatever it is called.
    odd = folder / "picture.dat"
    (folder / "a.png").rename(odd)
    assert predict(odd, "--weights", blind).stdout.split()[0] in LABELS


def test_files_of_all_formats_hold_the_same(
    predict: Predict, run: Path, folder: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / f"out.{suffix}" for suffix in ("jsonl", "csv", "parquet")]
    for out in outs:
        result = predict(folder, "--weights", run, "--no-text", "--out", out)
        assert result.exit_code == 0 and result.stdout == "", result.output
    lines = [json.loads(line) for line in outs[0].read_text().splitlines()]
    content = outs[1].read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    cells = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    table = pq.read_table(outs[2]).to_pylist()
    for line, cell, row in zip(lines, cells, table, strict=True):
        assert line["name"] == row["name"] and line["label"] == row["label"]
        assert cell["label"] == (line["label"] or "")
        assert row["missing_views"] == line["missing_views"]
        if line["label"] is None:
            assert row["probabilities"] is None and cell["p_cold"] == "" and row["error"] == line["error"]
        else:
            assert row["probabilities"] == pytest.approx(line["probabilities"])
            assert float(cell["p_cold"]) == pytest.approx(line["probabilities"]["cold"], abs=1e-6)
            assert line["missing_views"] == ["content", "style", "intention", "details"]
    assert not list(tmp_path.glob(".*.part"))
    again = predict(folder, "--weights", run, "--no-text", "--out", outs[0])
    assert again.exit_code == 2 and "already exists" in again.stderr
    assert predict(folder, "--weights", run, "--no-text", "--out", outs[0], "--overwrite").exit_code == 0


def test_text_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path) -> None:
    journal = PredictionJournal(tmp_path / "x.csv", ("a", "b"), {}, form="csv")
    journal.add([Prediction("a", {"a": 0.75, "b": 0.25}, {"content": "=1+1"}, name="-x")])
    journal.finish()
    (row,) = csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text("utf-8-sig")))
    assert (row["content"], row["name"], row["p_b"]) == ("'=1+1", "'-x", "0.250000")


def test_killed_command_goes_on_and_repeats_nothing(blind: Path, folder: Path, tmp_path: Path) -> None:
    for number in range(300):
        Image.new("RGB", (400, 400), (number % 256, 90, 30)).save(folder / f"n{number:03}.png")
    out = tmp_path / "out.jsonl"
    journal = tmp_path / ".out.jsonl.part"
    command = [sys.executable, "-m", "mghft", "predict", folder, "--weights", blind, "--out", out]
    command += ["--batch-size", "2", "--quiet"]
    process = subprocess.Popen(list(map(str, command)))
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") < 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes()
    assert not out.exists() and before.count(b"\n") < 306
    # What a crash of the machine leaves.
    journal.write_bytes(before + b'{"name": "half')
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = before.rpartition(b"\n")[0].count(b"\n")
    assert f"{kept} pictures were done before" in done.stderr
    names = [json.loads(line)["name"] for line in out.read_text().splitlines()]
    assert len(names) == len(set(names)) == 305
    assert out.read_bytes().startswith(before.split(b"\n", 1)[1].rpartition(b"\n")[0])
    assert not journal.exists()


def test_unfinished_predictions_of_other_weights_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    first = PredictionJournal(out, ("a", "b"), {"weights": 1}, form="jsonl")
    first.add([Prediction("a", {"a": 1.0, "b": 0.0}, name="x")])
    with pytest.raises(ValueError, match="another process writes"):
        PredictionJournal(out, ("a", "b"), {"weights": 1}, form="jsonl")
    first.close()
    with pytest.raises(ValueError, match="of other weights or settings"):
        PredictionJournal(out, ("a", "b"), {"weights": 2}, form="jsonl")
    again = PredictionJournal(out, ("a", "b"), {"weights": 1}, form="jsonl")
    assert again.resumed == 1 and "x" in again and "y" not in again
    again.close()


def test_all_pictures_failed_is_exit_1(predict: Predict, blind: Path, folder: Path) -> None:
    assert predict(folder / "broken.png", "--weights", blind).exit_code == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["gone.png"], "gone.png does not exist"),
        (["*.nothing"], "no file fits the pattern"),
        ([], "which pictures?"),
        (["a.png", "--out", "x.txt"], "x.txt says no format"),
        (["a.png", "--format", "parquet"], "wants a file"),
        (["a.png", "--model", "tiny-llava"], "reads no descriptions"),
        (["a.png", "--batch-size", "0"], "--batch-size must be at least 1, not 0"),
    ],
)
def test_slips_are_named_in_one_sentence(
    predict: Predict,
    blind: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(folder)
    result = predict(*words, "--weights", blind)
    assert result.exit_code == 2 and sentence in result.stderr, result.output
    assert result.stderr.count("\n") == 1
    result = predict("a.png", "--weights", folder)
    assert "has no weights yet" in result.stderr


def test_views_and_no_text_exclude_each_other(
    predict: Predict, run: Path, folder: Path, world: World
) -> None:
    picture = folder / "a.png"
    both = predict(picture, "--weights", run, "--no-text", "--descriptions", world.runs)
    assert both.exit_code == 2 and "leave them out" in both.stderr
    unknown = predict(picture, "--weights", run)
    assert "is not known: give --model" in unknown.stderr


@needs_chromium
def test_page_shows_pictures_views_and_overlays(
    predict: Predict, run: Path, folder: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    result = predict(folder, "--weights", run, "--no-text", "--html", page, "--pictures-shown", "4")
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.count("<article") == 4 and text.count("What the network looked at") == 3
    assert "5 pictures, the first 4 of them here" in text and "not read" in text
    assert "http://" not in text and "https://" not in text
    for width, dark in ((390, False), (1280, True)):
        found = layout(page, tmp_path, width, dark=dark)
        assert found["width"] == found["visible"] == width
        assert found["images"] == 6 and found["broken"] == found["without_alt"] == found["unreachable"] == 0
        assert found["low_contrast"] == []


def test_real_model_describes_and_the_page_of_a_resumed_command_is_whole(
    world: World, run: Path, tmp_path: Path
) -> None:
    """The shipped stand-in under the real vLLM, as a person calls it."""
    pictures = [world.data / row["path"] for row in world.rows[:3]]
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    command = ["predict", *pictures, "--weights", run, "--model", "tiny-llava", "--out", out, "--html", page]
    done = subprocess.run(
        [sys.executable, "-m", "mghft", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "tiny-llava is a stand-in that knows emoji only" in done.stderr
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["name"] for row in rows] == list(map(str, pictures))
    for row in rows:
        assert set(row["views"]) == {"content", "style", "intention", "details"}
        assert row["missing_views"] == [] and row["describing_error"] is None
        assert row["views"]["content"] in page.read_text()
