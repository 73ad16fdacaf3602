"""Peers saved and loaded as MGHFT is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mghft.model import MGHFT, MGHFTConfig
from mghft.model.peers import LORA, NETWORKS, PeerConfig, build_network, load_peer


@pytest.fixture(params=NETWORKS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    model = build_network(PeerConfig.preset("tiny", network=request.param, num_classes=5)).eval()
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


def test_saved_peer_is_loaded_with_its_class_and_numbers(saved: tuple[Any, Path]) -> None:
    model, folder = saved
    loaded = load_peer(folder)
    assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
    image = torch.randn(2, 3, 64, 64)
    text = torch.randn(2, 30, 32) if model.config.use_text else None
    with torch.no_grad():
        torch.testing.assert_close(loaded(image, text).logits, model(image, text).logits)


def test_card_names_network_and_how_to_load_it(saved: tuple[Any, Path]) -> None:
    model, folder = saved
    card = (folder / "README.md").read_text()
    assert f"# {model.config.title}, 5 classes" in card and "load_peer" in card
    assert ("Topic context: self." in card) == (model.config.network == "tgca-pvt")


def test_peer_is_no_mghft_and_mghft_no_peer(saved: tuple[Any, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json is not that of an MGHFT model"):
        MGHFT.from_pretrained(saved[1])
    MGHFT(MGHFTConfig.preset("tiny")).save_pretrained(tmp_path / "mghft")
    with pytest.raises(ValueError, match=r"config\.json is not that of a peer of MGHFT"):
        load_peer(tmp_path / "mghft")


def test_class_of_another_network_does_not_load_it(tmp_path: Path) -> None:
    build_network(PeerConfig.preset("tiny", network="pvt")).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="LORA is no PVT"):
        LORA.from_pretrained(tmp_path / "model")


def test_damaged_peer_is_refused(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in tensors.items() if name != "head.bias"}, folder / "model.safetensors"
    )
    with pytest.raises(ValueError, match=r"'head\.bias' is missing"):
        load_peer(folder)
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "topic_context": "world"}))
    with pytest.raises(ValueError, match="topic_context"):
        load_peer(folder)
    (folder / "config.json").write_text(json.dumps({**fields, "views": ["content"]}))
    with pytest.raises(ValueError, match="unknown field 'views'"):
        load_peer(folder)
