"""A sticker pack described: animations, videos, one hostile file, and the emoji of its maker as a column."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from describe_bench import config, run
from image_bytes import encode
from PIL import Image
from sticker_files import half, square, tgs, webm
from typer.testing import CliRunner

from mghft.cli import app
from mghft.pipeline.exports.preview import write_preview
from mghft.pipeline.exports.tables import export_rows
from mghft.pipeline.runs.journal import Journal
from mghft.pipeline.runs.manifest import read_manifest
from mghft.pipeline.runs.shards import read_shard, shard_paths
from mghft.pipeline.runs.store import RunStore

RED, BLUE = (255, 0, 0), (0, 0, 255)
EMOJI = {"0.webp": "😀 🎉", "1.tgs": "🔥", "2.webm": "", "3.tgs": "💣"}


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stickers = [{"image_file": name, "emojis": emoji.split()} for name, emoji in EMOJI.items()]
    files = {
        "0.webp": encode(Image.new("RGB", (24, 24), RED), "WEBP", lossless=True),
        "1.tgs": tgs(square(BLUE, side=512)),
        "2.webm": webm([half(RED)] * 2 + [half(BLUE)] * 2),
        "3.tgs": tgs(square(RED), w=10**6, h=10**6),
        "contents.json": json.dumps({"name": "Cats", "stickers": stickers}),
    }
    path = tmp_path / "cats.wastickers"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def describe(pack: Path, out: Path, **fields: object) -> dict[str, dict[str, object]]:
    run(config(Path("pack"), out, data=pack, failed_limit=1.0, **fields))
    rows = [row for path in shard_paths(out) for row in read_shard(path).to_pylist()]
    return {str(row["sticker_id"]): row for row in rows}


@pytest.mark.parametrize("workers", [0, 1])
def test_pack_is_described_but_for_its_hostile_file(pack: Path, tmp_path: Path, workers: int) -> None:
    rows = describe(
        pack, tmp_path / "run", decode_workers=workers, image={"frame": "middle"}, embed_images=True
    )
    assert {name: row["emoji"] for name, row in rows.items()} == EMOJI
    texts = {name: str(row["content"]) for name, row in rows.items() if row["status"] == "ok"}
    assert texts["0.webp"] == "content of 255-0-0" and texts["1.tgs"] == "content of 0-0-255"
    red, green, blue = (int(value) for value in texts["2.webm"].removeprefix("content of ").split("-"))
    assert red < 8 and green < 8 and blue > 247
    assert "1000000x1000000 pixels" in str(rows["3.tgs"]["error"]) and len(texts) == 3
    with zipfile.ZipFile(pack) as archive:
        for name, row in rows.items():
            assert row["image"] == {"bytes": archive.read(name), "path": name}


def test_emoji_reach_tables_and_the_page_shows_the_pictures(pack: Path, tmp_path: Path) -> None:
    describe(pack, tmp_path / "run")
    target, count = export_rows(tmp_path / "run", "jsonl")
    lines = [json.loads(line) for line in Path(target).read_text(encoding="utf-8").splitlines()]
    assert (count, {line["sticker_id"]: line["emoji"] for line in lines}) == (4, EMOJI)
    header = Path(export_rows(tmp_path / "run", "csv").target).read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith(",raw,emoji")
    page = write_preview(tmp_path / "run", data=pack).path.read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 3
    assert "<dt>emoji</dt><dd data-text>😀 🎉</dd>" in page and page.count("<dt>emoji</dt>") == 3
    checked = CliRunner().invoke(app, ["verify", str(tmp_path / "run"), "pack", "--data", str(pack)])
    assert checked.exit_code == 0, checked.output


def test_emoji_come_back_from_the_journal_of_a_killed_run(pack: Path, tmp_path: Path) -> None:
    rows = describe(pack, tmp_path / "run")
    key = read_manifest(tmp_path / "run")["fingerprint"]
    (shard,) = shard_paths(tmp_path / "run")
    shard.unlink()
    journal = Journal(tmp_path / "run" / ".descriptions-00000.rows", key)
    journal.append(rows["1.tgs"])
    journal.close()
    store = RunStore(tmp_path / "run", key)
    assert store.recover() == 1
    store.close()
    assert read_shard(shard_paths(tmp_path / "run")[0]).column("emoji").to_pylist() == ["🔥"]


def test_shards_of_other_corpora_have_no_such_column(tmp_path: Path) -> None:
    from describe_bench import make_corpus

    run(config(make_corpus(tmp_path, 3), tmp_path / "run"))
    assert "emoji" not in pq.read_schema(shard_paths(tmp_path / "run")[0]).names
