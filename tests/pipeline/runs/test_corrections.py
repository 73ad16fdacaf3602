"""Corrections of views: read as strangers write them, laid over rows, exports and commands; runs "
"stay as they are."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mghft.cli import app
from mghft.pipeline.exports.tables import export_rows
from mghft.pipeline.runs.corrections import (
    Correction,
    open_corrections,
    read_corrections,
    write_corrections,
)
from mghft.pipeline.runs.manifest import fingerprint
from mghft.pipeline.runs.shards import write_shard
from mghft.pipeline.views import VIEWS

MANIFEST: Any = {
    "format": 1,
    "corpus": {"card": "emoji"},
    "model": {"name": "m", "revision": None, "weights_sha256": None},
    "prompt": {"name": "p", "sha256": "s", "language": "en", "mode": "joint"},
    "views": list(VIEWS),
    "engine": {"name": "vllm", "version": "1"},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two shards; the third sticker failed, two share a file name."""
    folder = tmp_path / "run"
    folder.mkdir()
    rows: list[dict[str, Any]] = [
        {"sticker_id": id_, "path": id_, "split": "train", "label": 0, "label_name": "joy"}
        | {"status": "ok", "finish_reason": "stop", **{view: f"{view} of {id_}" for view in VIEWS}}
        for id_ in ("a/one.png", "a/two.png", "b/two.png")
    ]
    rows.append({**rows[0], "sticker_id": "c/three.png", "status": "failed", "error": "refused"})
    rows[-1] |= dict.fromkeys(VIEWS)
    write_shard(folder / "descriptions-00000.parquet", rows[:2], "f")
    write_shard(folder / "descriptions-00001.parquet", rows[2:], "f")
    (folder / "manifest.json").write_text(json.dumps({**MANIFEST, "fingerprint": fingerprint(MANIFEST)}))
    return folder


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_rows_are_corrected_by_id_or_by_a_name_of_their_own(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    # As Excel in Germany writes it.
    table.write_bytes(
        "sticker;view;text;by;why\r\none.png;Content;Ein Hund, müde.;ann;wrong animal\r\n"
        'a/one.png;style;;ann;guessed\r\na/two.png;details;"He says ""no"".";ben;\r\n'
        "c/three.png;content;A cat.;ben;\r\n;;;;\r\n".replace("a/one.png;style", "one.png;style").encode(
            "utf-8-sig"
        )
    )
    found = open_corrections(table, run)
    assert found is not None and len(found.rows) == 4
    assert found.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    before = files(run)
    out = export_rows(run, "jsonl", tmp_path / "out.jsonl", corrections=table)
    assert out.rows == 4 and files(run) == before
    rows = {
        row["sticker_id"]: row for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    }
    assert rows["a/one.png"]["content"] == "Ein Hund, müde." and rows["a/one.png"]["style"] is None
    assert rows["a/one.png"]["intention"] == "intention of a/one.png"
    assert rows["a/two.png"]["details"] == 'He says "no".'
    assert rows["b/two.png"]["details"] == "details of b/two.png"
    # A failed sticker that has a text now is described.
    assert (rows["c/three.png"]["status"], rows["c/three.png"]["error"]) == ("ok", None)
    only = export_rows(run, "csv", tmp_path / "out.csv", only_ok=True, corrections=table)
    assert only.rows == 4


def test_sticker_without_any_view_left_counts_as_failed(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    write_corrections(table, [Correction("a/one.png", view, None) for view in VIEWS])
    found = open_corrections(table, run)
    assert found is not None
    row = found.lay_over(
        {"sticker_id": "a/one.png", "status": "ok", "error": None, **dict.fromkeys(VIEWS, "x")}
    )
    assert row["status"] == "failed" and "taken away" in row["error"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sticker,view\na,content\n", "lack the column text"),
        ("sticker,view,text\none.png,contents,x\n", r"line 2.*no view 'contents': did you mean content"),
        ("sticker,view,text\n,content,x\n", "line 2.*'sticker' is empty"),
        ("sticker,view,text\none.png,content,x\none.png,content,y\n", "line 3.*has another text at.*line 2"),
        ("sticker,view,text\nnine.png,content,x\nten.png,content,x\n", "2 stickers that .* does not have"),
        ("sticker,view,text\ntwo.png,content,x\n", "'two.png', the file name of 2 stickers"),
        ("sticker,view,text\none.png,content,x\na/one.png,style,y\n", "by two names"),
    ],
)  # fmt: skip
def test_slips_are_named_with_their_line(run: Path, tmp_path: Path, text: str, sentence: str) -> None:
    table = tmp_path / "c.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        open_corrections(table, run)
    with pytest.raises(FileNotFoundError, match="do not exist"):
        read_corrections(tmp_path / "none.csv")


def test_written_tables_are_read_back_and_grow(tmp_path: Path) -> None:
    table = tmp_path / "deep" / "c.csv"
    odd = [
        Correction("a,b.png", "content", 'a "quoted"\nline; =1+1', "ann", "because"),
        Correction("猫.png", "style", None),
    ]
    write_corrections(table, odd)
    write_corrections(table, [Correction("猫.png", "style", "ink", "ben")])
    assert read_corrections(table).rows == (odd[0], Correction("猫.png", "style", "ink", "ben"))
    assert table.read_bytes().startswith(b"\xef\xbb\xbf")
    with table.open(encoding="utf-8-sig", newline="") as stream:
        assert next(csv.reader(stream)) == ["sticker", "view", "text", "by", "why"]


def test_command_says_what_would_change(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    write_corrections(
        table,
        [
            Correction("a/one.png", "content", "new", "ann"),
            Correction("a/one.png", "style", None, "ann"),
            Correction("a/two.png", "style", "style of a/two.png", "ben"),
        ],
    )
    done = CliRunner().invoke(app, ["runs", "corrections", str(table), "--descriptions", str(run), "--json"])
    found = json.loads(done.stdout)
    assert (found["texts"], found["stickers"], found["taken_away"], found["as_before"]) == (3, 2, 1, 1)
    assert found["by"] == {"ann": 2, "ben": 1} and found["views"] == {"content": 1, "style": 2}
    assert found["examples"][0]["before"] == "content of a/one.png"
    plain = CliRunner().invoke(app, ["runs", "corrections", str(table), "--descriptions", str(run)])
    assert "content of a/one.png" in plain.stdout and plain.exit_code == 0
