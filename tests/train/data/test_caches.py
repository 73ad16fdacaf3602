"""The files of the cache folder are whole or absent; damaged ones are noticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from squares import World
from sticker_files import square, tgs

from mghft.model import TextEncoder
from mghft.pipeline.corpora.card import load_card
from mghft.pipeline.corpora.load import load_corpus
from mghft.pipeline.corpora.sticker import Sticker
from mghft.pipeline.images.color import ImageError
from mghft.pipeline.images.extra import INSTALL
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.shard_images import ShardImages, image_hashes
from mghft.train.data.text_features import FeatureCache


@pytest.fixture
def stickers(world: World) -> list[Sticker]:
    world.describe(embed=True)
    return load_corpus(load_card(str(world.card)), world.data).split("train")


def open_images(world: World, stickers: list[Sticker], folder: Path) -> StickerImages:
    return StickerImages(FileImages(world.data, stickers), short_side=32, folder=folder, limit_gb=1)


def fill(kind: str, world: World, stickers: list[Sticker], folder: Path) -> Any:
    """Return what the cache gives once it is filled."""
    if kind == "images":
        return [np.asarray(image) for image in open_images(world, stickers, folder)]
    if kind == "encoded":
        images = ShardImages(world.runs, stickers, image_hashes(world.runs), folder=folder)
        return [images.read(number) for number in range(len(stickers))]
    encoder = TextEncoder.from_pretrained(world.encoder)
    return FeatureCache(encoder, pooling="cls", folder=folder).features([("is warm", "is cold")]).numpy()


@pytest.mark.parametrize("kind", ["images", "encoded", "text"])
def test_cache_that_does_not_reach_the_disk_leaves_nothing(
    world: World, stickers: list[Sticker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "small"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            fill(kind, world, stickers, folder)
    assert list(folder.iterdir()) == []
    first = fill(kind, world, stickers, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name.partition("-")[0] for path in before} == {kind}
    assert np.array_equal(
        np.concatenate([*first], axis=None), np.concatenate([*fill(kind, world, stickers, folder)], axis=None)
    )
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize(("name", "content"), [("*.json", b""), ("*.json", b"{}"), ("*.bin", b"few")])
def test_damaged_image_cache_is_removed_and_made_again(
    world: World, stickers: list[Sticker], tmp_path: Path, name: str, content: bytes
) -> None:
    open_images(world, stickers, tmp_path / "c")
    (file,) = (tmp_path / "c").glob(name)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="was damaged and has been removed: start the command again"):
        open_images(world, stickers, tmp_path / "c")
    assert open_images(world, stickers, tmp_path / "c")[0].size


def test_image_left_out_for_want_of_a_library_is_read_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.tgs").write_bytes(tgs(square((255, 0, 0), side=512)))
    source = FileImages(tmp_path, [Sticker("1.tgs", "1.tgs", "train", 0, "a")])
    reason = "the file is a Lottie animation (.tgs), which needs the package rlottie-python: " + INSTALL

    def absent(*_: object) -> None:
        raise ImageError(reason)

    def open_cache() -> StickerImages:
        return StickerImages(source, short_side=32, folder=tmp_path / "cache", limit_gb=1)

    with monkeypatch.context() as patch:
        patch.setattr("mghft.train.data.image_cache.decode_bytes", absent)
        assert open_cache().errors == {0: reason}
    images = open_cache()
    assert (images.errors, images[0].size, images[0].getpixel((16, 16))) == ({}, (32, 32), (255, 0, 0))
