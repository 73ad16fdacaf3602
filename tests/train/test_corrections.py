"""Corrections in training, evaluation, scoring and prediction: one sticker changes, the run of "
"descriptions does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from squares import World, metrics
from typer.testing import CliRunner

from mghft.cli import app
from mghft.inference.saved_views import SavedViews
from mghft.pipeline.runs.corrections import Correction, write_corrections
from mghft.pipeline.runs.manifest import fingerprint
from mghft.pipeline.runs.shards import read_descriptions, write_shard
from mghft.pipeline.views import VIEWS
from mghft.train.data.splits import load_splits, open_corpus
from mghft.train.data.text_features import load_encoder
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("corrections"))


@pytest.fixture(scope="module")
def table(world: World) -> Path:
    path = world.folder / "corrections.csv"
    write_corrections(
        path,
        [
            Correction("train/00.png", "content", "content is green", "ann", "wrong"),
            Correction("train/00.png", "style", None, "ann"),
            Correction("test/01.png", "content", "content is green", "ann"),
        ],
    )
    return path


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_features_differ_at_the_corrected_sticker_alone(world: World, table: Path) -> None:
    import torch

    found = {}
    for name, corrections in (("plain", None), ("corrected", table)):
        config = world.config("unused", corrections=corrections)
        encoder = load_encoder(config.text_encoder, config.text_pooling, torch.device("cpu"))
        found[name] = load_splits(
            open_corpus(config.sources), ["train"], config.sources, config.cache, text=config.text,
            views=VIEWS, image_size=32, encoder=encoder,
        )["train"]  # fmt: skip
    plain, corrected = found["plain"], found["corrected"]
    assert plain.features is not None and corrected.features is not None
    differing = (plain.features != corrected.features).any(-1).nonzero().tolist()
    place = [sticker.id for sticker in plain.stickers].index("train/00.png")
    assert differing == [[place, 0], [place, 1]]
    assert corrected.mask is not None and plain.mask is not None
    assert (plain.mask != corrected.mask).nonzero().tolist() == [[place, 1]]


def test_training_remembers_them_and_evaluation_says_where_they_differ(
    world: World, table: Path, tmp_path: Path
) -> None:
    before = files(world.runs)
    run = train(world.config("corrected", corrections=table, repeats=1))
    plain = train(world.config("plain", repeats=1))
    assert files(world.runs) == before
    assert metrics(run) != metrics(plain)
    record = json.loads((run / "config.json").read_text())["corrections"]
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    assert record == {"path": str(table), "sha256": digest, "texts": 3}
    assert "corrections" not in json.loads((plain / "config.json").read_text())

    def notes(folder: Path, *options: str) -> str:
        arguments = ["eval", str(folder), "--out", str(tmp_path / "report"), "--workers", "0", *options]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        return " ".join(json.loads((tmp_path / "report" / "report.json").read_text())["notes"])

    assert "corrections" not in notes(run) and "corrections" not in notes(plain)
    said = notes(plain, "--corrections", str(table))
    assert (
        "was trained without corrections and is judged with the corrections" in said and digest[:12] in said
    )
    # Another table is other data: the run is not gone on with.
    other = tmp_path / "other.csv"
    write_corrections(other, [Correction("train/02.png", "content", "content is cold")])
    with pytest.raises(ValueError, match="data_fingerprint"):
        train(world.config("corrected", corrections=other, resume=True, repeats=1))
    with pytest.raises(ValueError, match="corrections: they are laid over descriptions"):
        world.config("blind", use_text=False, descriptions=None, corrections=table)


def test_prompts_are_scored_with_them(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    rows = read_descriptions(world.runs).to_pylist()
    write_shard(run / "descriptions-00000.parquet", rows, "f")
    manifest: Any = {
        "format": 1, "corpus": {"card": "squares"}, "views": list(VIEWS),
        "model": {"name": "m"}, "prompt": {"name": "p", "sha256": "s", "language": "en", "mode": "joint"},
    }  # fmt: skip
    manifest["fingerprint"] = fingerprint(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))
    from mghft.train.probing.described_runs import find_runs

    table = tmp_path / "c.csv"
    write_corrections(table, [Correction("test/01.png", "content", "another")])
    (plain,), _ = find_runs([run])
    (corrected,), _ = find_runs([run], table)
    texts = [[sticker.texts["content"] for sticker in one.stickers] for one in (plain, corrected)]
    assert sum(np.array(texts[0]) != np.array(texts[1])) == 1 and "another" in texts[1]


def test_saved_views_are_corrected(world: World, tmp_path: Path) -> None:
    content = (world.data / "train" / "00.png").read_bytes()
    row = {
        "sticker_id": "train/00.png",
        "path": "x",
        "split": "train",
        "status": "ok",
        "finish_reason": "stop",
    }
    row |= {"image_sha256": hashlib.sha256(content).hexdigest(), **dict.fromkeys(VIEWS, "old")}
    write_shard(tmp_path / "descriptions-00000.parquet", [row], "f")
    table = tmp_path / "c.csv"
    write_corrections(table, [Correction("00.png", "content", "new"), Correction("00.png", "style", None)])
    (found,) = SavedViews(tmp_path, table).describe([content])
    assert found.views == {"content": "new", "intention": "old", "details": "old"}
