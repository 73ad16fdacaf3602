"""Commands that look at a run: failed stickers and their way back into describe, preview, export."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from describe_bench import AtOnce
from PIL import Image
from rich.cells import cell_len

from mghft.output import listable, printable, reason_counts, table
from mghft.pipeline.describe.config import DescribeConfig
from mghft.pipeline.describe.run import describe
from mghft.pipeline.engines.base import Request, Response
from mghft.pipeline.runs.status import failed_rows
from mghft.pipeline.views import VIEWS

Call = Callable[..., Any]


def test_failed_has_a_table_on_one_stream_and_counts_on_the_other(mghft: Call, described: Path) -> None:
    answer = mghft("failed", described)
    reason = "the answer is no valid JSON: Expecting value: line 1 column 1 (char 0)"
    assert answer.out == f"0.png  {reason}\n"
    assert answer.err == f"1 failed\n      1  {reason}\n"


def test_ids_of_failed_stickers_go_back_into_describe(mghft: Call, squares: Path, tmp_path: Path) -> None:
    """failed --ids > file; describe --ids file --retry-failed; with ids as strange as a file allows."""
    names = ["0.png", " leading and trailing .png ", "ä ☺ 'quoted' \"x\".png", "tab\tand\u2028line.png", "-n"]
    with (squares / "stickers.csv").open("a", encoding="utf-8", newline="") as file:
        for name in names[1:]:
            Image.new("RGB", (32, 32)).save(squares / name, "PNG")
            csv.writer(file).writerow([name, "anger", "train", "", "", "", "", ""])
    asked: list[str] = []

    class Engine(AtOnce):
        """Cannot describe the five before it is told to."""

        able = False

        def reply(self, request: Request) -> Response:
            name = request.key.sticker_id
            asked.append(name)
            good = json.dumps({view: f"{view} of {name!r}" for view in VIEWS})
            return Response(request.key, good if self.able or name not in names else "no", "stop", 1, 1)

    options = {"card": "emoji", "data": squares, "out": tmp_path / "run"}
    describe(DescribeConfig(**options), start_engine=Engine)
    answer = mghft("failed", tmp_path / "run", "--ids")
    assert (answer.code, answer.err) == (0, "")
    (tmp_path / "ids.txt").write_text(answer.out, encoding="utf-8")

    asked.clear()
    Engine.able = True
    again = DescribeConfig(**options, ids=tmp_path / "ids.txt", retry_failed=True)
    stats = describe(again, start_engine=Engine)
    assert sorted(asked) == sorted(names)
    assert (stats["rows"], stats["failed"]) == (8, 0)
    assert failed_rows(tmp_path / "run") == []
    assert mghft("failed", tmp_path / "run", "--ids").out == ""


@pytest.mark.parametrize("name", ["two\nlines", "carriage\rreturn", " ", "", "\ufeffmark"])
def test_an_id_that_no_line_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot stand in a file with one id a line.*without --ids"):
        listable(["a.png", name])


def test_table_is_aligned_and_shortened_to_the_terminal() -> None:
    rows = [("a.png", "short"), ("猫.png", "a long reason " * 10), ("b" * 60, "x" * 80)]
    lines = table(rows, 80)
    assert lines[0] == "a.png" + " " * 45 + "short"
    assert lines[1].startswith("猫.png" + " " * 44 + "a long") and lines[1].endswith("…")
    assert cell_len(lines[1]) <= 80
    assert lines[2].startswith("b" * 60 + "  xxx") and lines[2].endswith("…")
    assert table(rows, None)[1].endswith("a long reason " * 10)


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\u202e ü") == r"a\x1b[2Jb\nc\u202e ü"
    assert table([("x\n", "\x07")], 80) == [r"x\n  \x07"]


def test_reasons_that_differ_in_numbers_are_one_group() -> None:
    reasons = ["cut at 12 of 30", "missing", "cut at 9 of 31", "over 5", "missing", "missing"]
    assert reason_counts(reasons) == [("missing", 3), ("cut at N of N", 2), ("over 5", 1)]


def test_preview_writes_a_page_and_says_where(mghft: Call, squares: Path, described: Path) -> None:
    answer = mghft("preview", described, "--data", squares, "--limit", 3)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"preview: {described / 'preview.html'} (3 stickers, ")
    assert answer.err.startswith("note: 3 of 4 stickers are on the page (the first), 1 are left out")
    assert (described / "preview.html").read_text(encoding="utf-8").count("data:image/webp;base64,") == 3


def test_export_to_standard_output_is_rows_alone(mghft: Call, described: Path) -> None:
    answer = mghft("export", described, "--format", "csv", "--out", "-", "--status", "ok")
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [row["sticker_id"] for row in rows] == ["1.png", "2.png", "3.png"]
    assert answer.err == "3 rows: standard output\n"


def test_export_does_not_replace_files_unasked(mghft: Call, described: Path) -> None:
    (described / "export.jsonl").write_text("mine", encoding="utf-8")
    refused = mghft("export", described, "--format", "jsonl")
    assert refused.code == 2 and "already exists" in refused.err and "--force" in refused.err
    assert (described / "export.jsonl").read_text(encoding="utf-8") == "mine"
    assert mghft("export", described, "--format", "jsonl", "--force").code == 0
    assert len((described / "export.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_annotations_say_what_was_done(mghft: Call, described: Path, tmp_path: Path) -> None:
    answer = mghft("export", described, "--format", "annotations-mg", "--out", "mg")
    assert answer.out == ""
    assert answer.err.splitlines() == [
        "0 rows: mg/Annotations_mg/image-level/train.json",
        "0 rows: mg/Annotations_mg/image-level/val.json",
        "0 rows: mg/Annotations_mg/image-level/test.json",
        "left out, no folder that could be the topic: 3, the first is '1.png'",
        "left out, no description: 1, the first is '0.png'",
    ]
