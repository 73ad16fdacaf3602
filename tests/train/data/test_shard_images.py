"""Training straight from shards with embedded images: the same run, without the corpus' folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from squares import World, metrics

from mghft.pipeline.runs.shards import read_shard, write_shard
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import EvalConfig
from mghft.train.trainer.trainer import train

SHARDS: dict[str, Any] = {"images": "shards", "data": None}


@pytest.fixture
def embedded(world: World) -> World:
    world.describe(embed=True)
    return world


def weights(run: Path) -> bytes:
    return (run / "best" / "model.safetensors").read_bytes()


def rewrite(world: World, change: Any) -> None:
    """Applies `change(row)` to every row of the second shard."""
    path = world.runs / "descriptions-00001.parquet"
    rows = read_shard(path).to_pylist()
    for row in rows:
        change(row)
    write_shard(path, rows, "test", images=True)


def test_run_from_shards_alone_is_the_run_from_files(embedded: World) -> None:
    from_files = train(embedded.config("files"))
    shutil.rmtree(embedded.data)
    cached = train(embedded.config("shards", **SHARDS))
    decoded = train(embedded.config("decoded", **SHARDS, cache_gb=0, cache_dir=embedded.folder / "other"))
    helped = train(embedded.config("helped", **SHARDS, cache_gb=0, workers=2, prefetch=3, pin_memory=False))
    for run in (cached, decoded, helped):
        assert weights(run) == weights(from_files)
        assert metrics(run) == metrics(from_files)
    assert not list((embedded.folder / "other").glob("images-*"))


def test_run_begun_from_files_goes_on_from_shards(embedded: World) -> None:
    config = embedded.config("run", resume=True)
    train(config)
    (config.out / "summary.json").unlink()
    assert train(embedded.config("run", **SHARDS, resume=True)) == config.out


def test_evaluation_and_its_pictures_need_no_folder_either(embedded: World) -> None:
    run = train(embedded.config("run", **SHARDS, epochs=1, warmup_epochs=0))
    shutil.rmtree(embedded.data)
    report = evaluate(EvalConfig(runs=(run,), out=embedded.folder / "report", bootstrap_rounds=100))
    assert report.splits["test"]["all"]["MGHFT"].count == 12
    page = (embedded.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert page.count("data:image/webp;base64,") == 12


def test_network_without_text_learns_from_shards_too(embedded: World) -> None:
    run = train(embedded.config("run", **SHARDS, use_text=False, epochs=1, warmup_epochs=0))
    assert (run / "best" / "model.safetensors").is_file()


def test_copied_bytes_are_made_again_when_they_are_damaged(embedded: World) -> None:
    fields = {**SHARDS, "epochs": 1, "warmup_epochs": 0, "cache_gb": 0}
    first = train(embedded.config("first", **fields))
    copies = sorted((embedded.folder / "cache").glob("encoded-*.bin"))
    assert len(copies) == 2
    before = [path.stat().st_mtime_ns for path in copies]
    copies[0].write_bytes(copies[0].read_bytes()[:-5])
    assert weights(train(embedded.config("second", **fields))) == weights(first)
    after = [path.stat().st_mtime_ns for path in copies]
    assert after[0] != before[0] and after[1] == before[1]


def test_bytes_that_were_changed_in_the_shard_are_refused(embedded: World) -> None:
    def change(row: dict[str, Any]) -> None:
        if row["sticker_id"] == "train/03.png":
            row["image"]["bytes"] = (embedded.data / "train" / "04.png").read_bytes()

    rewrite(embedded, change)
    with pytest.raises(ValueError, match=r"image of train/03.png in the shards of .* is not the one"):
        train(embedded.config("run", **SHARDS))


def test_sticker_without_an_image_is_named(embedded: World) -> None:
    def change(row: dict[str, Any]) -> None:
        if row["sticker_id"] == "train/03.png":
            row["image"] = None

    rewrite(embedded, change)
    with pytest.raises(ValueError, match=r"hold no image of the sticker train/03\.png"):
        train(embedded.config("run", **SHARDS))


def test_broken_image_in_a_shard_is_named(embedded: World) -> None:
    (embedded.data / "train" / "07.png").write_bytes(b"no image")
    embedded.describe(embed=True)
    with pytest.raises(ValueError, match=r"image of train/07.png in the shards of .* cannot be decoded"):
        train(embedded.config("run", **SHARDS, cache_gb=0))
    with pytest.raises(ValueError, match=r"1 of 24 images of the split train .*: train/07\.png"):
        train(embedded.config("strict", **SHARDS, strict=True))


def test_shards_without_images_are_named(world: World) -> None:
    with pytest.raises(ValueError, match="hold no image"):
        train(world.config("run", images="shards"))


def test_shards_of_another_card_are_refused(embedded: World) -> None:
    text = embedded.card.read_text().replace("[cold, warm, green]", "[warm, cold, green]")
    embedded.card.write_text(text)
    with pytest.raises(ValueError, match="which the card squares lacks"):
        train(embedded.config("run", **SHARDS))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": None}, "data: give the root folder of the corpus"),
        ({"images": "shards", "descriptions": None, "use_text": False}, "images: shards are those of a run"),
    ],
)
def test_missing_folder_is_asked_for(world: World, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        world.config("run", **fields)
    assert "\n" not in str(caught.value)
