"""The peers of MGHFT in the same trainer and the same evaluation, on the squares with text on them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from squares import World

from mghft.model.config import MGHFTConfig
from mghft.model.joint import load_network
from mghft.model.peers import NETWORKS, PeerConfig, build_network
from mghft.pipeline.corpora.sticker import Sticker
from mghft.train.config import build_config, load_config
from mghft.train.data.token_features import topic_batches, topic_numbers, topics_of
from mghft.train.evaluation.evaluate import evaluate
from mghft.train.evaluation.saved_models import open_model
from mghft.train.evaluation.trained_runs import build_eval_config
from mghft.train.options import OF_MGHFT, READS_OWN_TEXT
from mghft.train.runs.files import read_metrics
from mghft.train.trainer.loop import Trainer
from mghft.train.trainer.trainer import train


@pytest.fixture
def texts(world: World) -> World:
    """The squares with a word on every second one."""
    card = world.card.read_text().replace("part: part}", "part: part, text: text}")
    world.card.write_text(card)
    with (world.data / "stickers.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "label", "split", "part", "text"])
        writer.writeheader()
        for number, row in enumerate(world.rows):
            text = row["label"].upper() if number % 2 else ""
            writer.writerow({**row, "text": text})
    return world


def fields(world: World, network: str, **changes: Any) -> dict[str, Any]:
    model = {"preset": "tiny", "image_size": 32, **changes.pop("model", {})}
    more = {"descriptions": None, "network": network, "model": model}
    return world.fields(str(changes.pop("out", network)), **{**more, **changes})


@pytest.mark.parametrize("network", NETWORKS)
def test_peer_trains_resumes_and_is_loaded(
    texts: World, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(build_config(fields(texts, network)))
    assert len(read_metrics(whole)) == 2
    assert json.loads((whole / "config.json").read_text())["config"]["network"] == network
    halves = fields(texts, network, out="halves", checkpoint_every_steps=2)
    finish = Trainer.finish_epoch

    def stop_in_the_second(trainer: Trainer) -> None:
        if trainer.state.epoch == 1:
            raise KeyboardInterrupt
        finish(trainer)

    monkeypatch.setattr(Trainer, "finish_epoch", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(build_config(halves))
    monkeypatch.setattr(Trainer, "finish_epoch", finish)
    half = train(build_config({**halves, "resume": True}))
    model, again = load_network(whole / "best"), load_network(half / "best")
    assert isinstance(model.config, PeerConfig) and model.config.network == network
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


def test_evaluation_judges_peers_beside_mghft_with_the_topic_context_in_the_name(texts: World) -> None:
    runs = [train(texts.config("mghft"))]
    for network in NETWORKS:
        runs.append(train(build_config(fields(texts, network, epochs=1, warmup_epochs=0))))
    for context in ("batch", "topic"):
        changes = {"out": texts.folder / context, "model": {"topic_context": context}}
        runs.append(train(build_config(fields(texts, "tgca-pvt", epochs=1, warmup_epochs=0, **changes))))
    found = evaluate(
        build_eval_config({"runs": runs, "out": texts.folder / "report", "bootstrap_rounds": 100})
    )
    contexts = [f"TGCA-PVT (topic context: {word})" for word in ("self", "batch", "topic")]
    assert found.main == "MGHFT"
    assert len(found.notes) == 1 and "trained with the topics of its batches" in found.notes[0]
    peers = ["PVT", "PVT + BERT", "LORA-V", "LORA", *contexts]
    assert found.systems == ["majority", "text only", *peers, "MGHFT"]
    assert set(found.splits["test"]["all"]) == set(found.systems)
    assert all(name in (texts.folder / "report" / "report.md").read_text() for name in peers)


def test_network_option_trains_in_a_process_with_the_recipe_for_two_cores(texts: World) -> None:
    command = [sys.executable, "-m", "mghft", "train", str(texts.card), "--data", str(texts.data)]
    command += ["--recipe", "cpu", "--network", "lora", "--out", str(texts.folder / "run"), "--epochs", "1"]
    command += ["--text-encoder", str(texts.encoder), "--workers", "0", "--batch-size", "4"]
    command += ["--cache-dir", str(texts.folder / "cache"), "--set", "warmup_epochs=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = load_network(texts.folder / "run" / "best")
    assert model.config.title == "LORA" and model.config.text_dim == 16


def test_topic_is_the_corpus_own_else_the_file_name() -> None:
    stickers = [
        Sticker("a", "set/1.png", "train", topic="panda"),
        Sticker("b", "set/2.png", "train"),
        Sticker("c", "set/3.png", "train", topic="panda"),
        Sticker("d", "other/2.png", "train"),
    ]
    assert topics_of(stickers) == ["panda", "2.png", "panda", "2.png"]
    numbers = topic_numbers(stickers).tolist()
    assert numbers[0] == numbers[2] != numbers[1] == numbers[3]


def test_own_text_decides_what_run_it_is(texts: World) -> None:
    train(build_config(fields(texts, "lora", epochs=1, warmup_epochs=0)))
    table = texts.data / "stickers.csv"
    table.write_text(table.read_text().replace("COLD", "WARM", 1))
    with pytest.raises(ValueError, match="data_fingerprint"):
        train(build_config(fields(texts, "lora", epochs=1, warmup_epochs=0, resume=True)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "vgg"}, "network"),
        ({"network": "lora", "use_text": True}, "use_text: lora reads no descriptions"),
        ({"network": "lora", "view_dropout": 0.1}, "view_dropout: it is of mghft alone"),
        ({"network": "pvt", "gather_negatives": True}, "gather_negatives: it is of mghft alone"),
    ],
)
def test_contradiction_is_refused(world: World, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_config(world.fields("run", **changes))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"local_stages": [1, 1, 1, 1]}, "local_stages"),
        ({"alpha": 2}, "alpha 2 is too large"),
        ({"alignment_weight": 0.5}, "alignment_weight"),
        ({"topic_context": "world"}, "topic_context"),
    ],
)
def test_model_that_does_not_fit_is_refused_by_its_field(
    texts: World, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(build_config(fields(texts, "tgca-pvt", model=model)))


def test_recipe_says_nothing_of_mghft_to_another_network(world: World) -> None:
    given = {"card": str(world.card), "data": world.data, "out": world.folder / "run"}
    assert "alignment_weight" not in load_config("cpu", None, {**given, "network": "lora"}).model
    assert load_config("cpu", None, {**given, "use_text": False}).model["alignment_weight"] == 0.0
    own = load_config("cpu", None, {**given, "network": "lora", "model.alignment_weight": 1.0})
    assert own.model["alignment_weight"] == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give --text-encoder too"),
        ({"text_encoder": "minilm", "descriptions": "d"}, "LORA reads no descriptions: leave --descriptions"),
        ({"text_encoder": "minilm", "view_texts": "own"}, "leave --view-texts out"),
        ({"text_encoder": "minilm"}, "has 7 classes, the card"),
    ],
)
def test_folder_of_a_peer_that_cannot_be_judged_says_why(
    world: World, fields: dict[str, Any], message: str
) -> None:
    build_network(PeerConfig.preset("tiny", network="lora")).save_pretrained(world.folder / "lora")
    with pytest.raises(ValueError, match=message):
        open_model(world.folder / "lora", {"card": str(world.card), "data": world.data, **fields})


def test_names_here_are_those_of_the_model() -> None:
    # The configuration of a training is read without torch, so it has them written out.
    assert MGHFTConfig.model_fields.keys() - PeerConfig.model_fields.keys() == OF_MGHFT
    assert {name for name in NETWORKS if PeerConfig(network=name).use_text} == READS_OWN_TEXT


def test_run_of_mghft_is_the_same_run_as_before(world: World) -> None:
    assert "network" not in world.config("run").identity()
    assert build_config(fields(world, "lora")).identity()["network"] == "lora"


def test_batches_of_topics_are_whole_and_hold_everyone_once() -> None:
    topics = torch.tensor([0, 1, 0, 2, 2, 2, 1, 3])
    batches = topic_batches(topics, range(8), 3)
    assert sorted(index for batch in batches for index in batch) == list(range(8))
    of_topic = [{int(topics[index]) for index in batch} for batch in batches]
    assert sum(len(found) for found in of_topic) == 4
    assert [len(batch) for batch in topic_batches(topics, range(8), 1)] == [2, 2, 3, 1]
