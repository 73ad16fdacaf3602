"""Shards: whole or not at all, readable by others, and honest about files that are none of ours."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mghft.pipeline.files import write_atomically
from mghft.pipeline.runs.shards import (
    SCHEMA,
    next_shard_path,
    read_descriptions,
    read_shard,
    remove_leftovers,
    shard_paths,
    write_shard,
)
from mghft.pipeline.runs.worker import Worker

FIRST = "descriptions-00000.parquet"


def row(name, **fields):
    return {"sticker_id": name, "path": f"{name}.png", "split": "train", "status": "ok", **fields}


def test_rows_come_back(tmp_path):
    write_shard(tmp_path / FIRST, [row("a", label=3, style="flat", text="你好 😀"), row("b")], "f")
    rows = read_descriptions(tmp_path).to_pylist()
    assert [(r["sticker_id"], r["label"], r["style"], r["text"]) for r in rows] == [
        ("a", 3, "flat", "你好 😀"),
        ("b", None, None, None),
    ]


def test_columns_are_those_of_the_schema(tmp_path):
    write_shard(tmp_path / FIRST, [row("a")], "f")
    assert read_descriptions(tmp_path).schema.equals(SCHEMA)


def test_fingerprint_is_in_the_file(tmp_path):
    write_shard(tmp_path / FIRST, [row("a")], "abc")
    assert pq.read_schema(tmp_path / FIRST).metadata[b"mghft.fingerprint"] == b"abc"


def test_row_without_an_id_is_not_written(tmp_path):
    with pytest.raises((pa.ArrowException, ValueError)):
        write_shard(tmp_path / FIRST, [row(None)], "f")
    assert list(tmp_path.iterdir()) == []


def test_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / FIRST
    write_shard(path, [row("a")], "f")

    def disk_full(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, disk_full)
    assert [file.name for file in tmp_path.iterdir()] == [FIRST]
    assert read_descriptions(tmp_path).num_rows == 1


def test_interrupted_writer_leaves_nothing(tmp_path):
    def stopped(file):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / FIRST, stopped)
    assert list(tmp_path.iterdir()) == []


def test_file_has_its_name_only_when_it_is_whole(tmp_path):
    seen = []
    write_atomically(tmp_path / FIRST, lambda file: seen.append(shard_paths(tmp_path)))
    assert (seen, shard_paths(tmp_path)) == ([[]], [tmp_path / FIRST])


def test_datasets_reads_shards(tmp_path):
    write_shard(tmp_path / FIRST, [row("a", content="a cat")], "f")
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found[0]["content"] == "a cat"


def test_datasets_shows_embedded_images(tmp_path):
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
    write_shard(tmp_path / FIRST, [row("a", image={"bytes": png, "path": "a.png"})], "f", images=True)
    found = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(found.features["image"], datasets.Image)
    assert found[0]["image"].size == (1, 1)


def test_embedded_images_are_left_out_of_the_table(tmp_path):
    write_shard(tmp_path / FIRST, [row("a", image={"bytes": b"x", "path": "a.png"})], "f", images=True)
    write_shard(tmp_path / "descriptions-00001.parquet", [row("b")], "f")
    assert read_descriptions(tmp_path).schema.names == SCHEMA.names


@pytest.mark.parametrize("keep", [0, 3, 100, -20])
def test_truncated_file_is_one_sentence(tmp_path, keep):
    write_shard(tmp_path / FIRST, [row("a")], "f")
    content = (tmp_path / FIRST).read_bytes()
    (tmp_path / FIRST).write_bytes(content[:keep])
    with pytest.raises(
        ValueError, match=r"descriptions-00000\.parquet cannot be read \(.*move it out"
    ) as info:
        read_descriptions(tmp_path)
    assert "\n" not in str(info.value)


def test_damage_in_the_middle_is_found(tmp_path):
    path = tmp_path / FIRST
    write_shard(path, [row(f"s{i}", raw=f"{i * i}" * 20) for i in range(200)], "f")
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_descriptions(tmp_path)


def test_foreign_parquet_lacks_columns(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / FIRST)
    with pytest.raises(ValueError, match=r"lacks the column sticker_id"):
        read_shard(tmp_path / FIRST)


def test_foreign_types_are_one_sentence(tmp_path):
    columns = {name: pa.array(["x"]) for name in SCHEMA.names}
    pq.write_table(pa.table(columns), tmp_path / FIRST)
    with pytest.raises(ValueError, match="other column types"):
        read_descriptions(tmp_path)


def test_shard_that_another_tool_rewrote_is_read(tmp_path):
    write_shard(tmp_path / FIRST, [row("a")], "f")
    wide = pa.schema(
        pa.field(f.name, pa.large_string() if f.type == pa.string() else pa.int64()) for f in SCHEMA
    )
    pq.write_table(read_shard(tmp_path / FIRST).cast(wide), tmp_path / FIRST)
    write_shard(tmp_path / "descriptions-00001.parquet", [row("b")], "f")
    assert read_descriptions(tmp_path).column("sticker_id").to_pylist() == ["a", "b"]


def test_two_rows_for_one_sticker_are_refused(tmp_path):
    write_shard(tmp_path / FIRST, [row("a")], "f")
    write_shard(tmp_path / "descriptions-00001.parquet", [row("a")], "f")
    with pytest.raises(ValueError, match="more than one row for a sticker"):
        read_descriptions(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="mghft describe"):
        read_descriptions(tmp_path / "gone")


def test_folder_without_shards(tmp_path):
    (tmp_path / "descriptions-notes.parquet").touch()
    with pytest.raises(FileNotFoundError, match="holds no description shard"):
        read_descriptions(tmp_path)


def test_names_count_up(tmp_path):
    names = []
    for _ in range(3):
        path = next_shard_path(tmp_path)
        path.touch()
        names.append(path.name)
    assert names == [f"descriptions-0000{i}.parquet" for i in range(3)]


def test_gap_is_not_filled(tmp_path):
    (tmp_path / "descriptions-00004.parquet").touch()
    assert next_shard_path(tmp_path).name == "descriptions-00005.parquet"


def test_name_after_the_last_of_five_digits(tmp_path):
    (tmp_path / "descriptions-99999.parquet").touch()
    assert next_shard_path(tmp_path).name == "descriptions-100000.parquet"


def test_workers_have_names_of_their_own(tmp_path):
    (tmp_path / "descriptions-00000.parquet").touch()
    (tmp_path / "descriptions-1of2-00000.parquet").touch()
    names = [next_shard_path(tmp_path, Worker(index, 2)).name for index in (1, 2)]
    assert names == ["descriptions-1of2-00001.parquet", "descriptions-2of2-00000.parquet"]


def test_shards_of_workers_are_read_together(tmp_path):
    for i in (1, 2):
        write_shard(next_shard_path(tmp_path, Worker(i, 2)), [row(f"s{i}")], "f")
    assert read_descriptions(tmp_path).num_rows == 2


def test_leftovers_are_removed(tmp_path):
    write_shard(tmp_path / FIRST, [row("a")], "f")
    (tmp_path / f".{FIRST}.123.tmp").touch()
    assert remove_leftovers(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FIRST]


def test_leftovers_of_another_worker_stay(tmp_path):
    other = tmp_path / ".descriptions-1of2-00000.parquet.123.tmp"
    other.touch()
    (tmp_path / ".descriptions-2of2-00000.parquet.124.tmp").touch()
    assert remove_leftovers(tmp_path, Worker(2, 2)) == 1
    assert list(tmp_path.iterdir()) == [other]
