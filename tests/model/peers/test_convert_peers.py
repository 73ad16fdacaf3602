"""Checkpoints of the released LORA and TGCA-PVT, converted: any `locals`, and whole files alone."""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from released_choice import released_choice
from released_peers import released_peer_state
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from mghft.cli import app
from mghft.model.convert import convert_checkpoint
from mghft.model.peers import PeerNetwork, topic_groups
from mghft.train.evaluation.saved_models import open_model

GOLDEN = Path(__file__).parents[2] / "golden"
PATTERNS = [
    (network, (*local, 0))
    for network in ("lora-v", "lora", "tgca-pvt")
    for local in itertools.product((0, 1), repeat=3)
]


def saved(state: dict[str, Tensor], path: Path, **options: Any) -> Path:
    """A file as the released training writes it."""
    content = {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 6.25e-5}]},
        "lr_scheduler": {"base_values": [6.25e-5]},
        "epoch": 49,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(batch_size=16, **options),
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize(("network", "local"), PATTERNS)
def test_every_pattern_converts(network: str, local: tuple[int, ...], tmp_path: Path) -> None:
    state = released_peer_state(network, local, alpha=2)
    result = convert_checkpoint(saved(state, tmp_path / "checkpoint.pth", input_size=96))
    model = result.model
    assert isinstance(model, PeerNetwork)
    assert model.config.network == network
    assert model.config.local_stages == tuple(map(bool, local))
    assert (model.config.alpha, model.config.image_size, model.config.hidden_dim) == (2, 96, 48)
    assert not result.missing
    assert sorted([*result.used, *result.left_over]) == sorted(state)
    unused = {name for name in state if "attn.norm" in name and name.startswith("fusion_model")}
    for stage, flag in enumerate(local[:3], start=1):
        unused |= {name for name in state if name.startswith(f"vision_model.conv{stage}.") and not flag}
    unused |= {name for name, tensor in state.items() if tensor.numel() == 0}
    assert set(result.left_over) == unused
    ours = model.state_dict()
    assert torch.equal(ours["visual_projection.weight"], state["v_proj.weight"])
    if network == "tgca-pvt":
        matrix = state["vision_model.patch_embed3.fft.i"]
        assert torch.equal(ours["frequencies.2.imaginary"], matrix.diagonal())
        kernel = state["vision_model.conv4.weight"]
        assert torch.equal(ours["topic_contexts.3.weight"], kernel[..., 0])


@pytest.mark.parametrize("name", ["lora_v_a", "lora_a", "tgca_a"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_converted_checkpoint_gives_the_released_logits(name: str, prefix: str, tmp_path: Path) -> None:
    state = load_file(GOLDEN / name / "official_state_dict.safetensors")
    case = load_file(GOLDEN / name / "case.safetensors")
    source = saved({prefix + key: value for key, value in state.items()}, tmp_path / "in.pth", input_size=64)
    wanted = {"topic_context": "batch"} if name == "tgca_a" else {}
    result = convert_checkpoint(source, **wanted)
    result.model.save_pretrained(tmp_path / "out")
    model = PeerNetwork.from_pretrained(tmp_path / "out")
    inputs = {"image": case["image"], "text_tokens": case.get("text_tokens")}
    if "topic_ids" in case:
        inputs["topics"] = topic_groups(case["topic_ids"])
    with torch.no_grad(), released_choice(case, "mghft.model.peers.network"):
        logits = model(**inputs).logits
    torch.testing.assert_close(logits, case["logits"], rtol=1e-4, atol=1e-4)
    assert set(result.text_encoder) == {
        key.removeprefix("text_model.") for key in state if key.startswith("text_model.")
    }


def test_bare_state_dict_in_safetensors_converts(tmp_path: Path) -> None:
    save_file(released_peer_state("lora", (1, 1, 1, 0)), tmp_path / "lora.safetensors")
    result = convert_checkpoint(tmp_path / "lora.safetensors", image_size=64)
    assert result.kind.startswith("released LORA checkpoint on ")


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    "name",
    [
        "head.weight",
        "pos_embed",
        "l_proj.weight",
        "l_proj.bias",
        "vision_model.norm.weight",
        "vision_model.block3.5.mlp.fc2.bias",
        "vision_model.local_proj2.2.weight",
        "vision_model.patch_embed2.fft.ib",
        "vision_model.patch_embed3.fft.SE2.fc.2.weight",
        "vision_model.conv4.weight",
        "vision_model.conv1.bias",
        "fusion_model.attn.conv.weight",
        "fusion_model.attn.out.bias",
        "vision_model.cls_token",
        "vision_model.cls_token2",
    ],
)
def test_incomplete_checkpoint_is_refused(name: str, tmp_path: Path) -> None:
    state = released_peer_state("tgca-pvt", (1, 1, 1, 0))
    assert name in state
    source = saved(without(state, name), tmp_path / "checkpoint.pth", input_size=64)
    with pytest.raises(ValueError, match=r"pass a whole checkpoint|fits no alpha|lacks"):
        convert_checkpoint(source)


def test_gate_of_another_width_is_refused(tmp_path: Path) -> None:
    state = released_peer_state("tgca-pvt", (1, 1, 1, 0))
    state["vision_model.patch_embed3.fft.SE1.fc.0.weight"] = torch.zeros(3, 16)
    with pytest.raises(ValueError, match=r"does not fit tgca-pvt at parameter 'frequencies\.2\.real_gate"):
        convert_checkpoint(saved(state, tmp_path / "checkpoint.pth", input_size=64))


def test_local_projection_of_the_last_stage_is_refused_by_its_field(tmp_path: Path) -> None:
    state = released_peer_state("lora", (1, 1, 1, 0))
    state["vision_model.local_proj4.0.weight"] = torch.zeros(64, 64)
    with pytest.raises(ValueError, match="local_stages has the last stage on"):
        convert_checkpoint(saved(state, tmp_path / "checkpoint.pth", input_size=64))


def test_foreign_parameter_and_nan_are_refused(tmp_path: Path) -> None:
    state = released_peer_state("lora-v", (1, 1, 1, 0))
    source = saved({**state, "decoder.weight": torch.zeros(1)}, tmp_path / "foreign.pth", input_size=64)
    with pytest.raises(ValueError, match=r"'decoder\.weight' is none of LORA's"):
        convert_checkpoint(source)
    state["head.bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"holds NaN or infinity in 'head\.bias'"):
        convert_checkpoint(saved(state, tmp_path / "nan.pth", input_size=64))


def test_option_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    source = saved(released_peer_state("lora", (1, 0, 1, 0)), tmp_path / "checkpoint.pth", input_size=64)
    with pytest.raises(ValueError, match="has alpha 1, not 2"):
        convert_checkpoint(source, alpha=2)


def test_command_says_what_it_found(tmp_path: Path) -> None:
    source = saved(released_peer_state("tgca-pvt", (1, 1, 1, 0)), tmp_path / "checkpoint.pth", input_size=64)
    found = CliRunner().invoke(app, ["convert", str(source), str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    assert "released TGCA-PVT checkpoint on a PVT of depths (3, 4, 6, 3)" in found.output
    assert "TGCA-PVT of 7 classes, 64 px, local stages 1110, alpha 1" in found.output
    assert "left over: 10 (" in found.output
    assert "vision_model.patch_embed1.fft.SE1.fc.0.weight" in found.output
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model_type"], config["network"], config["topic_context"]) == (
        "mghft-peer",
        "tgca-pvt",
        "self",
    )


def test_peer_is_not_judged_as_an_mghft(tmp_path: Path) -> None:
    source = saved(released_peer_state("lora-v", (1, 1, 1, 0)), tmp_path / "checkpoint.pth", input_size=64)
    convert_checkpoint(source).model.save_pretrained(tmp_path / "out")
    with pytest.raises(ValueError, match="holds no MGHFT but lora-v"):
        open_model(tmp_path / "out", {"card": "emoji"})
