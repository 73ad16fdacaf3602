"""Commands that look at a run: failed stickers and their way back into describe, preview, export."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from describe_bench import AtOnce
from PIL import Image
from rich.cells import cell_len

from mghft.output import check_one_per_line, count_reasons, escape_control, print_table, table_lines
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
    assert answer.err == f"1 failed\n1  {reason}\n"


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
        check_one_per_line(["a.png", name])


def test_table_is_aligned_and_its_last_column_shortened_to_the_width() -> None:
    rows = [("a.png", "short"), ("猫.png", "a long reason " * 10), ("b" * 40, "x" * 80)]
    lines = table_lines(None, rows, width=80)
    assert lines[0] == "a.png" + " " * 37 + "short"
    assert lines[1].startswith("猫.png" + " " * 36 + "a long reason") and lines[1].endswith("…")
    assert lines[2] == "b" * 40 + "  " + "x" * 37 + "…"
    assert cell_len(lines[1]) <= cell_len(lines[2]) == 80
    assert table_lines(None, rows)[1] == "猫.png" + " " * 36 + ("a long reason " * 10).rstrip()


def test_an_id_stays_whole_and_leaves_its_reason_some_room() -> None:
    (line,) = table_lines(None, [("b" * 100, "x" * 80)], width=80)
    assert line == "b" * 100 + "  " + "x" * 23 + "…"


def test_header_and_numbers_flush_right() -> None:
    lines = table_lines(["name", "count"], [["[b]a[/b] :cat:", 1], ["b", 12_345]], numeric=[1])
    assert lines == ["name            count", "[b]a[/b] :cat:      1", "b               12345"]
    assert table_lines(["name"], []) == ["name"] and table_lines(None, []) == []


@pytest.mark.parametrize("variable", [{"COLUMNS": "30"}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}])
def test_in_a_pipe_a_table_is_neither_cut_nor_coloured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: dict[str, str]
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    print_table(["id", "reason"], [["a", "word " * 300]], shorten_last=True)
    assert capsys.readouterr().out == f"id  reason\na   {('word ' * 300).rstrip()}\n"


def test_in_a_terminal_a_table_is_as_wide_as_the_terminal(tmp_path: Path) -> None:
    code = (
        "from mghft.output import print_table\n"
        "print_table(None, [['a', 'x' * 100]], shorten_last=True)\n"
        "print_table(None, [['a', 'y' * 100]])\n"
    )
    master, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", code], stdout=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(master, 4096).decode()
    os.close(master)
    assert shown.split() == ["a", "x" * 46 + "…", "a", "y" * 100]


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert escape_control("a\x1b[2Jb\nc\u202e ü") == r"a\x1b[2Jb\nc\u202e ü"
    assert table_lines(None, [("x\n", "\x07")]) == [r"x\n  \x07"]


def test_reasons_that_differ_in_numbers_are_one_group() -> None:
    reasons = ["cut at 12 of 30", "missing", "cut at 9 of 31", "over 5", "missing", "missing"]
    assert count_reasons(reasons) == [("missing", 3), ("cut at N of N", 2), ("over 5", 1)]


def test_preview_writes_a_page_and_says_where(mghft: Call, squares: Path, described: Path) -> None:
    answer = mghft("preview", described, "--data", squares, "--limit", 3)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"preview: {described / 'preview.html'} (3 stickers, ")
    assert answer.err.startswith("note: 3 of 4 stickers are on the page (the first), 1 are left out")
    assert (described / "preview.html").read_text(encoding="utf-8").count("data:image/webp;base64,") == 3


def test_preview_of_all_leaves_nothing_out(mghft: Call, squares: Path, described: Path) -> None:
    answer = mghft("preview", described, "--data", squares, "--all")
    assert answer.code == 0 and "left out" not in answer.err
    assert answer.out.startswith(f"preview: {described / 'preview.html'} (4 stickers, ")
    assert not (described / "preview_files").exists()
    slip = mghft("preview", described, "--all", "--sample", 2)
    assert (slip.code, slip.err) == (2, "error: --all takes every sticker, so leave --sample out\n")


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
        "left out, no folder that could be the topic: 3 (1.png, 2.png, 3.png)",
        "left out, no description: 1 (0.png)",
    ]
