"""Peers of MGHFT on two processes: losses, gradients and figures of one process with their batch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_together
from squares import World, metrics

from mghft.model.joint import load_network
from mghft.train.config import TrainConfig, build_config
from mghft.train.runs.checkpoints import checkpoint_paths
from mghft.train.trainer.trainer import train


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Words on every second square; validation has topics (file names) that the two processes share."""
    world = World(tmp_path_factory.mktemp("peers-together"))
    world.card.write_text(world.card.read_text().replace("part: part}", "text: text}"))
    with (world.data / "stickers.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "label", "split", "text"])
        writer.writeheader()
        for number, row in enumerate(world.rows):
            path = row["path"]
            if row["split"] == "validation":
                path = f"{Path(path).with_suffix('')}/set-{number % 3}.png"
                (world.data / path).parent.mkdir()
                (world.data / row["path"]).rename(world.data / path)
            text = row["label"].upper() if number % 2 else ""
            writer.writerow({"path": path, "label": row["label"], "split": row["split"], "text": text})
    return world


def config(world: World, network: str, out: str, batch_size: int) -> TrainConfig:
    """Nothing that is drawn per process or shared in a batch: the number of processes must not matter.

    Copies of a sticker are one topic: a batch with both has another mean than its halves with one each.
    """
    context = {"topic_context": "topic"} if network == "tgca-pvt" else {}
    shape = {"preset": "tiny", "image_size": 32, "drop_path": 0.0, "fusion_dropout": 0.0}
    fields: dict[str, Any] = {"network": network, "descriptions": None, "model": {**shape, **context}}
    fields |= {
        "epochs": 1,
        "warmup_epochs": 0,
        "repeats": 1,
        "checkpoint_every_steps": 1,
        "keep_checkpoints": 9,
    }
    return build_config(world.fields(out, batch_size=batch_size, **fields))


def first_gradients(run: Path) -> list[torch.Tensor]:
    """Adam's mean gradient of every parameter after one step: a tenth of the gradient at the same weights."""
    states = torch.load(checkpoint_paths(run)[0] / "optimizer.pt", weights_only=True)["optimizer"]["state"]
    assert all(state["step"] == 1 for state in states.values())
    return [state["exp_avg"] for state in states.values()]


@pytest.mark.parametrize("network", ["lora", "tgca-pvt"])
def test_two_processes_train_and_judge_a_peer_as_one_does_with_their_batch(
    world: World, network: str
) -> None:
    alone = train(config(world, network, f"{network}-alone", 12))
    two = config(world, network, f"{network}-two", 6)
    logs = world.folder / f"{network}.logs"
    logs.mkdir()
    assert run_together(two, logs) == [0, 0]
    (ours,), (theirs,) = metrics(two.out), metrics(alone)
    assert ours == pytest.approx(theirs, rel=1e-4)
    mine, other = first_gradients(two.out), first_gradients(alone)
    assert len(mine) == len(other) > 50
    for gradient, expected in zip(mine, other, strict=True):
        # In its own scale; of a bias of keys the gradient is nothing but rounding.
        scale = float(expected.abs().max())
        assert float((gradient - expected).abs().max()) <= 1e-3 * scale + 1e-6
    names = load_network(two.out / "best").state_dict().keys()
    assert not [name for name in names if "module." in name]
    assert (logs / "written-1").read_text() == ""
