"""Images that cannot be decoded at training: left out, counted and recorded, or refused."""

from __future__ import annotations

import csv
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from squares import World, metrics

from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.config import TrainConfig
from mghft.train.data.image_cache import FileImages, StickerImages
from mghft.train.data.usable_images import check_usable
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.trained_runs import build_eval_config
from mghft.train.trainer.trainer import LEFT_OUT, train


def spoil(world: World) -> None:
    """A file that is no image, one that is cut, one that is gone."""
    (world.data / "train" / "07.png").write_bytes(b"no image")
    cut = world.data / "validation" / "02.png"
    cut.write_bytes(cut.read_bytes()[:60])
    (world.data / "train" / "11.png").unlink()


def test_stickers_without_a_usable_image_are_left_out_told_and_recorded(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(world)
    with caplog.at_level(logging.WARNING):
        run = train(world.config("run"))
    told = [line for line in caplog.messages if "left out" in line]
    assert told[0].startswith("note: 2 of 24 images of the split train cannot be decoded and are left out: ")
    assert "train/07.png (the file is no image" in told[0] and "train/11.png (the file is missing)" in told[0]
    assert told[1].startswith("note: 1 of 9 images of the split validation cannot be decoded")
    with (run / LEFT_OUT).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["train/07.png", "train/11.png", "validation/02.png"]
    assert len(metrics(run)) == 2 and (run / "best").is_dir()


def test_other_images_are_the_same_with_and_without_broken_ones(world: World, tmp_path: Path) -> None:
    spoil(world)
    stickers = [Sticker(f"train/{n:02d}.png", f"train/{n:02d}.png", "train", n % 3) for n in range(24)]
    images = StickerImages(
        FileImages(world.data, stickers), short_side=32, folder=tmp_path / "cache", limit_gb=1
    )
    assert sorted(images.errors) == [7, 11] and len(images) == 24
    places = check_usable(images, stickers, "train", strict=False)
    usable = images.without_errors()
    assert len(usable) == len(places) == 22 and not usable.errors
    hashes = usable.content_hashes()
    assert hashes is not None and None not in hashes and len(hashes) == 22
    for number, place in enumerate(places):
        alone = StickerImages(
            FileImages(world.data, [stickers[place]]), short_side=32, folder=tmp_path / "one", limit_gb=0
        )
        assert np.array_equal(np.asarray(usable[number]), np.asarray(alone[0]))


def test_strict_training_refuses_them(world: World) -> None:
    spoil(world)
    with pytest.raises(ValueError, match=r"2 of 24 images of the split train cannot be decoded: .*--strict"):
        train(world.config("run", strict=True))
    assert not (world.folder / "run" / "best").exists()


def test_a_split_that_is_mostly_broken_is_refused(world: World) -> None:
    for path in (world.data / "train").glob("*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"24 of 24 images of the split train .*'mghft data check'"):
        train(world.config("run"))


def test_run_that_goes_on_leaves_the_same_stickers_out(world: World) -> None:
    spoil(world)
    run = train(world.config("run"))
    (run / "summary.json").unlink()
    train(world.config("run", resume=True))
    (run / "summary.json").unlink()
    Image.new("RGB", (40, 40)).save(world.data / "train" / "07.png")
    with pytest.raises(ValueError, match=r"1 image could be decoded when this run began .*: train/07\.png: "):
        train(world.config("run", resume=True))


def test_evaluation_leaves_them_out_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    run = train(world.config("run", epochs=1, warmup_epochs=0))
    (world.data / "test" / "00.png").write_bytes(b"no image")
    evaluate(build_eval_config({"runs": [run], "out": world.folder / "report"}))
    ids = set(pq.read_table(world.folder / "report" / "predictions.parquet").column(0).to_pylist())
    assert len(ids & {f"test/{number:02d}.png" for number in range(12)}) == 11 and "test/00.png" not in ids
    assert any("1 of 12 images of the split test cannot be decoded" in line for line in caplog.messages)


def test_strict_is_answered_before_torch_is_loaded(world: World) -> None:
    spoil(world)
    config: TrainConfig = world.config("run", strict=True)
    file = world.folder / "config.yaml"
    file.write_text(yaml.safe_dump(json.loads(config.model_dump_json(exclude={"augmentation", "imbalance"}))))
    child = (
        "import sys\n"
        "from mghft import cli\n"
        "try:\n"
        "    cli.main()\n"
        "except SystemExit as end:\n"
        "    print('torch' in sys.modules, end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, "train", "--config", str(file), "--strict"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False 2", done.stderr
    assert "error: 2 of 24 images of the split train cannot be decoded" in done.stderr
