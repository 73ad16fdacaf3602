"""mghft convert and mghft model info, as a person calls them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mghft import cli
from mghft.model import MGHFT, MGHFTConfig
from mghft.model.peers import PeerConfig, build_network

GOLDEN = Path(__file__).parents[1] / "golden" / "a" / "official_state_dict.safetensors"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A whole training checkpoint as the released code writes it."""
    path = tmp_path / "checkpoint.pth"
    content = {
        "model": load_file(GOLDEN),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 49,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(batch_size=16, input_size=64),
    }
    torch.save(content, path)
    return path


CONVERTED = """checkpoint.pth: released MGHFT checkpoint on a PVT of depths (3, 4, 6, 3) and widths \
(8, 16, 40, 64)
used: 367 (fusion_model.attention_norm.bias, fusion_model.attention_norm.weight, fusion_model.attn.key.bias \
and 364 more)
missing, made new: 3 (missing_view_embedding, text_mean, text_scale)
left over: 3 (vision_model.norm_t.bias, vision_model.norm_t.weight, vision_model.tau)
left over, text encoder (--text-encoder writes it): 87 (text_model.embeddings.LayerNorm.bias, \
text_model.embeddings.LayerNorm.weight, text_model.embeddings.position_embeddings.weight and 84 more)
written: out, MGHFT of 7 classes, 64 px, local stages 1110, alpha 1
"""


def test_convert_accounts_for_everything_and_writes_a_model(
    call: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    result = call("convert", checkpoint.name, "out")
    assert (result.exit_code, result.stdout) == (0, CONVERTED)
    weight = MGHFT.from_pretrained(tmp_path / "out").head.weight
    assert torch.equal(weight, load_file(GOLDEN)["head.weight"])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license" not in card and "Their makers' terms apply." in card


def test_convert_lists_every_name_on_request(call: Callable[..., Any], checkpoint: Path) -> None:
    lines = call("convert", checkpoint, "out", "--names").stdout.splitlines()
    assert "more" not in lines[1] and lines[1].count(",") == 366


def test_convert_writes_the_text_encoder(call: Callable[..., Any], checkpoint: Path, tmp_path: Path) -> None:
    result = call("convert", checkpoint, "out", "--text-encoder", "bert", "--text-heads", 4)
    assert result.exit_code == 0, result.stderr
    assert "written: bert, a BERT of 87 tensors\nnote: bert has no tokenizer" in result.stdout
    assert json.loads((tmp_path / "bert" / "config.json").read_text())["num_hidden_layers"] == 5


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def test_convert_runs_nothing_that_a_file_asks_for(call: Callable[..., Any], tmp_path: Path) -> None:
    torch.save({"model": {"head.weight": Hostile()}}, tmp_path / "hostile.pth")
    result = call("convert", "hostile.pth", "out")
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1
    assert "asks for posix.system" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.pth"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.pth", "out"], ["the weights file nowhere.pth does not exist"]),
        (["checkpoint.pth", "full"], ["full already exists", "choose another"]),
        (["checkpoint.pth", "out", "--backbone", "medium"], ["depths (3, 4, 6, 3), not (3, 4, 18, 3)"]),
        (["checkpoint.pth", "out", "--backbone", "huge"], ["'huge'", "tiny, small, medium, large"]),
        (["checkpoint.pth", "out", "--locals", "111"], ["--locals", "'111'"]),
        (["checkpoint.pth", "out", "--classes", "9"], ["num_classes 7, not 9"]),
        (["checkpoint.pth", "out", "--tokenizer", "minilm"], ["--tokenizer", "go with --text-encoder"]),
        (["checkpoint.pth", "out", "--text-encoder", "out"], ["a folder each"]),
        (["full", "out"], ["neither model.safetensors nor pytorch_model.bin"]),
        (["empty.pth", "out"], ["was refused"]),
        (["no-bert.pth", "out", "--text-encoder", "bert"], ["holds no text encoder"]),
        (
            ["no-bert.pth", "out", "--image-size", "100"],
            ["error: the model configuration: image side 100", "multiple of 32"],
        ),
    ],
)
def test_convert_refuses_in_one_sentence_and_writes_nothing(
    call: Callable[..., Any], checkpoint: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (tmp_path / "empty.pth").touch()
    tensors = load_file(GOLDEN)
    bare = {name: value for name, value in tensors.items() if not name.startswith("text_model.")}
    torch.save(bare, tmp_path / "no-bert.pth")
    result = call("convert", *arguments)
    assert result.exit_code == 2, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and [word for word in words if word not in lines[0]] == [], lines
    assert not (tmp_path / "out").exists()


def test_info_counts_the_published_model(call: Callable[..., Any]) -> None:
    out = call("model", "info").stdout
    assert "text encoder (bert-base-uncased) 109,482,240" in " ".join(out.split())
    assert "as the released code counts 144,182,024" in out


def test_info_as_json_has_the_same_numbers(call: Callable[..., Any]) -> None:
    facts = json.loads(call("model", "info", "tiny", "--json").stdout)
    table = [" ".join(line.split()) for line in call("model", "info", "tiny").stdout.splitlines()]
    for part in facts["parts"]:
        assert f"{part['name']} {part['parameters']:,} {part['flops'] / 1e9:.3f}" in table
    assert sum(part["flops"] for part in facts["parts"]) == facts["flops"]
    assert facts["text_encoder"] is None and facts["config"]["alpha"] == 1


def test_info_takes_the_shape_from_options(call: Callable[..., Any]) -> None:
    options = ["--image-size", 96, "--locals", "1001", "--alpha", 2, "--backbone", "tiny", "--json"]
    config = json.loads(call("model", "info", "tiny", *options).stdout)["config"]
    wanted = {"image_size": 96, "local_stages": [True, False, False, True], "alpha": 2, "depths": [2] * 4}
    assert {name: config[name] for name in wanted} == wanted


def test_info_of_a_shape_that_cannot_be_is_refused(call: Callable[..., Any]) -> None:
    result = call("model", "info", "--image-size", 64)
    assert result.exit_code == 2 and "alpha 8 is too large for an image of 64 x 64" in result.stderr


@pytest.mark.parametrize(
    ("network", "model", "released"),
    [
        ("lora-v", 32_999_687, 32_999_687),
        ("lora", 33_613_319, 33_613_319 + 109_482_240),
        ("tgca-pvt", 34_622_739, 144_351_263),
    ],
)
def test_info_counts_the_released_peers(
    call: Callable[..., Any], network: str, model: int, released: int
) -> None:
    out = call("model", "info", "official", "--network", network).stdout
    assert f"total {model:,}" in " ".join(out.split())
    assert f"as the released code counts {released:,}" in out
    assert ("reads 1 text of 30 tokens" in out) == (network != "lora-v")


def test_info_of_a_peer_that_nobody_released_claims_nothing(call: Callable[..., Any]) -> None:
    out = call("model", "info", "tiny", "--network", "pvt").stdout
    assert "released" not in out and "read by the last class token alone" in out


def test_info_reads_a_saved_peer(call: Callable[..., Any], tmp_path: Path) -> None:
    build_network(PeerConfig.preset("tiny", network="lora", num_classes=3)).save_pretrained(tmp_path / "peer")
    facts = json.loads(call("model", "info", "peer", "--json").stdout)
    assert facts["config"]["network"] == "lora" and facts["config"]["num_classes"] == 3
    assert facts["parameters_as_released"] == facts["parameters"]
    refused = call("model", "info", "peer", "--network", "tgca-pvt")
    assert refused.exit_code == 2 and "is of LORA, not of tgca-pvt: leave --network out" in refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "vgg"], "--network is 'vgg': choose one of mghft, pvt,"),
        (
            ["--network", "lora", "--locals", "1111"],
            "ends with 1, with which the released networks do not run",
        ),
        (["--network", "pvt", "--locals", "1000"], "PVT has no local tokens"),
    ],
)
def test_info_of_a_peer_that_cannot_be_is_refused(
    call: Callable[..., Any], options: list[str], message: str
) -> None:
    result = call("model", "info", *options)
    assert result.exit_code == 2 and message in result.stderr


def test_info_reads_a_saved_model(call: Callable[..., Any], tmp_path: Path) -> None:
    MGHFT(MGHFTConfig.preset("tiny", num_classes=3)).save_pretrained(tmp_path / "saved")
    assert json.loads(call("model", "info", "saved", "--json").stdout)["config"]["num_classes"] == 3
