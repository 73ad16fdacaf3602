"""`mghft eval --topic-context`: TGCA-PVT judged in several topic contexts, each table says in which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from squares import World
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.peers import TGCAPVT, PeerConfig, build_network, load_peer
from mghft.train.config import build_config
from mghft.train.evaluation.trained_runs import open_runs
from mghft.train.trainer.trainer import train

CONTEXTS = ("self", "batch", "topic")
ALL_THREE = [word for context in CONTEXTS for word in ("--topic-context", context)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three topics of four stickers in the test split: a file's name, where a corpus has no topics."""
    world = World(tmp_path_factory.mktemp("topics"))
    rows = []
    for number, row in enumerate(world.rows):
        path = f"{Path(row['path']).with_suffix('')}/set-{number % 3}.png"
        (world.data / path).parent.mkdir()
        (world.data / row["path"]).rename(world.data / path)
        rows.append({**row, "path": path})
    world.write_table(rows)
    return world


@pytest.fixture(scope="module")
def run(world: World) -> Path:
    fields: dict[str, Any] = {
        "network": "tgca-pvt",
        "descriptions": None,
        "epochs": 1,
        "warmup_epochs": 0,
        "model": {"preset": "tiny", "image_size": 32},
    }
    return train(build_config(world.fields("tgca", **fields)))


def evaluate(out: Path, *options: Any) -> Any:
    arguments = ["eval", *options, "--split", "test", "--out", out, "--batch-size", 4, "--workers", 0]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def probabilities(out: Path) -> dict[str, NDArray[np.float64]]:
    """[n, 3] by system, in the order of the split."""
    found: dict[str, list[list[float]]] = {}
    for row in pq.read_table(out / "predictions.parquet").to_pylist():
        found.setdefault(row["system"], []).append(list(row["probabilities"].values()))
    return {system: np.array(rows) for system, rows in found.items()}


def test_one_run_is_judged_in_every_topic_context_that_is_named(run: Path, tmp_path: Path) -> None:
    result = evaluate(tmp_path, run, *ALL_THREE)
    assert result.exit_code == 0, result.output
    names = [f"TGCA-PVT (topic context: {context})" for context in CONTEXTS]
    note = (
        "TGCA-PVT was trained with the topics of its batches, as released, and judged with the topic "
        "context in its name: self is the sticker alone; batch is its batch of 4, in the order of the split, "
        "as released; topic is every sticker of its topic in the split (transductive)."
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["systems"] == ["majority", *names] and report["notes"] == [note]
    for text in (result.stdout, (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()):
        assert "trained with the topics of its batches" in text
        assert all(name in text for name in names)
    found = probabilities(tmp_path)
    alone, batch, topic = (found[name] for name in names)
    assert np.abs(alone - batch).max() > 1e-4
    assert np.abs(topic - batch).max() > 1e-4
    assert np.abs(alone - topic).max() > 1e-4


def test_figures_of_a_context_are_those_of_a_run_that_was_trained_to_be_judged_in_it(
    run: Path, world: World, tmp_path: Path
) -> None:
    """So nothing but the context changes: the same weights with that context in their own config.json."""
    evaluate(tmp_path / "option", run, "--topic-context", "batch")
    evaluate(tmp_path / "own", run)
    assert list(probabilities(tmp_path / "own")) == ["majority", "TGCA-PVT (topic context: self)"]
    model = load_peer(run / "best")
    other = build_network(PeerConfig(**{**model.config.model_dump(), "topic_context": "batch"}))
    other.load_state_dict(model.state_dict())
    other.save_pretrained(tmp_path / "batch")
    told = ["--card", world.card, "--data", world.data, "--text-encoder", world.encoder]
    evaluate(tmp_path / "model", "--model", tmp_path / "batch", *told, "--cache-dir", world.folder / "cache")
    name = "TGCA-PVT (topic context: batch)"
    ours, theirs = (probabilities(tmp_path / folder)[name] for folder in ("option", "model"))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_runs_and_a_model_folder_beside_each_other_keep_names_of_their_own(
    run: Path, world: World, tmp_path: Path
) -> None:
    told = ["--card", world.card, "--data", world.data, "--text-encoder", world.encoder]
    result = evaluate(tmp_path / "out", run, "--model", run / "best", *told, *ALL_THREE[:4])
    assert result.exit_code == 0, result.output
    names = [f"TGCA-PVT (topic context: {context})" for context in CONTEXTS[:2]]
    assert list(probabilities(tmp_path / "out"))[1:] == [*names, *(f"{name} (best)" for name in names)]


def test_run_without_topics_is_not_multiplied_and_none_with_topics_is_a_slip(
    run: Path, world: World, tmp_path: Path
) -> None:
    plain = train(world.config("plain", epochs=1, warmup_epochs=0, descriptions=None, use_text=False))
    opened = open_runs([plain, run], contexts=("batch", "batch", "self"))
    assert [found.name for found in opened] == [
        "MGHFT without text",
        "TGCA-PVT (topic context: batch)",
        "TGCA-PVT (topic context: self)",
    ]
    result = evaluate(tmp_path, plain, "--topic-context", "batch")
    assert result.exit_code == 2
    assert "only TGCA-PVT has a topic context, and none is evaluated: leave --topic-context" in result.stderr


def test_unknown_context_is_refused_by_its_field(run: Path, tmp_path: Path) -> None:
    result = evaluate(tmp_path, run, "--topic-context", "world")
    assert result.exit_code == 2 and "topic_contexts" in result.stderr and "or topic" in result.stderr


def test_context_that_is_set_is_saved_with_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TGCAPVT(PeerConfig.preset("tiny", network="tgca-pvt"))
    model.set_topic_context("topic")
    model.save_pretrained(tmp_path / "saved")
    assert load_peer(tmp_path / "saved").config.topic_context == "topic"
