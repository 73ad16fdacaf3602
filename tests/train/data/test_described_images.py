"""Images replaced under the names of those that were described, and splits made after describing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from squares import World

from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.trainer.trainer import train


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.describe(embed=True)
    merge_shards(world)
    return world


def merge_shards(world: World) -> None:
    """Keeps the hashes, not the embedded images."""
    from mghft.pipeline.runs.shards import SCHEMA, read_descriptions, shard_paths, write_shard

    rows = read_descriptions(world.runs).select(SCHEMA.names).to_pylist()
    for path in shard_paths(world.runs):
        path.unlink()
    write_shard(world.runs / "descriptions-00000.parquet", rows, "test")


def replace(world: World, *names: str) -> None:
    for name in names:
        Image.new("RGB", (40, 40), (9, 9, 9)).save(world.data / name)


def test_training_stops_at_other_images_than_those_described(world: World) -> None:
    replace(world, "train/03.png", "validation/02.png")
    with pytest.raises(
        ValueError, match=r"of 33 pictures compared .* 2 are others now, the first is of "
    ) as stop:
        train(world.config("run"))
    assert "'train/03.png'" in str(stop.value) and "--allow-changed-images" in str(stop.value)
    assert not (world.folder / "run" / "best").exists()
    train(world.config("run", allow_changed_images=True))
    assert (world.folder / "run" / "best").is_dir()


def test_other_images_of_the_test_split_do_not_hold_a_training_up(world: World) -> None:
    replace(world, "test/00.png")
    train(world.config("run", epochs=1, warmup_epochs=0))


def test_training_without_text_compares_nothing(world: World) -> None:
    replace(world, "train/03.png")
    train(world.config("run", use_text=False, descriptions=None, epochs=1, warmup_epochs=0))


def images(world: World, folder: Path, limit_gb: float = 1) -> StickerImages:
    stickers = [Sticker(f"train/{number:02d}.png", f"train/{number:02d}.png", "train") for number in range(3)]
    return StickerImages(FileImages(world.data, stickers), short_side=32, folder=folder, limit_gb=limit_gb)


def test_cache_of_before_gets_its_hashes_once(world: World, tmp_path: Path) -> None:
    wanted = images(world, tmp_path / "cache").content_hashes()
    assert wanted is not None and len(set(wanted)) == 3 and all(len(str(one)) == 64 for one in wanted)
    (index,) = (tmp_path / "cache").glob("images-*.json")
    content = json.loads(index.read_text())
    del content["sha256"]
    index.write_text(json.dumps(content))
    assert images(world, tmp_path / "cache").content_hashes() == wanted
    assert json.loads(index.read_text())["sha256"] == wanted


def test_images_that_are_not_cached_have_no_hashes(world: World, tmp_path: Path) -> None:
    assert images(world, tmp_path / "cache", limit_gb=0).content_hashes() is None
