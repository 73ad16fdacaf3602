"""Checkpoints of LORA and TGCA-PVT as their authors' code writes them, turned into ours."""

import argparse
import itertools
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from released_choice import released_choice
from released_layout import released_state
from released_peer_layout import released_peer_state
from safetensors.torch import load_file, save_file
from torch import Tensor

from mghft.model import MGHFT
from mghft.model.convert import convert_checkpoint
from mghft.model.convert_text_encoder import save_text_encoder
from mghft.model.peers import LORA, Peer, load_peer
from mghft.model.peers.config import TITLES
from mghft.model.peers.token_encoder import last_four_mean
from mghft.model.pvt import PyramidVisionTransformer

GOLDEN = Path(__file__).parents[2] / "golden"
RELEASED = ("lora-v", "lora", "tgca-pvt")
PATTERNS = [(*pattern, 0) for pattern in itertools.product((0, 1), repeat=3)]
# Both inputs have fewer than 16 channels: nothing to squeeze into.
UNREAD = {"fusion_model.attn.norm.weight", "fusion_model.attn.norm.bias"} | {
    f"vision_model.patch_embed{stage}.fft.{gate}.fc.{layer}.weight"
    for gate in ("SE1", "SE2")
    for layer in (0, 2)
    for stage in (1, 2)
}


def bert() -> dict[str, Tensor]:
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    state = transformers.BertModel(config).state_dict()
    return {f"text_model.{name}": tensor for name, tensor in state.items()}


def whole(state: dict[str, Tensor], path: Path, **options: Any) -> Path:
    content = {
        "model": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 49,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(**options),
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: "".join(map(str, p)))
@pytest.mark.parametrize("network", RELEASED)
def test_every_pattern_of_locals_converts_and_accounts_for_every_tensor(
    network: str, pattern: tuple[int, ...], tmp_path: Path
) -> None:
    alpha = 1 + sum(pattern)
    state = released_peer_state(network, pattern, alpha=alpha, classes=5)
    encoder = bert() if network != "lora-v" else {}
    result = convert_checkpoint(whole(state | encoder, tmp_path / "checkpoint.pth", input_size=224, alpha=3))
    config = result.model.config
    assert (config.network, config.alpha, config.num_classes) == (network, alpha, 5)
    assert config.local_stages == tuple(bool(flag) for flag in pattern) and config.image_size == 224
    unread = UNREAD | {
        f"vision_model.conv{stage + 1}.{kind}"
        for stage in range(3)
        for kind in ("weight", "bias")
        if not pattern[stage]
    }
    assert set(result.left_over) == (unread if network == "tgca-pvt" else set())
    assert result.missing == []
    inside = [f"text_model.{name}" for name in result.text_encoder]
    assert sorted([*result.used, *result.left_over, *inside]) == sorted(state | encoder)
    assert {f"text_model.{name}" for name in result.text_encoder} == set(encoder)
    state_of_ours = result.model.state_dict()
    assert torch.equal(state_of_ours["head.weight"], state["head.weight"])
    if network == "tgca-pvt":
        diagonal = state["vision_model.patch_embed4.fft.i"].diagonal()
        assert torch.equal(state_of_ours["frequency.3.imaginary"].flatten(), diagonal)
        assert torch.equal(
            state_of_ours["fusion.attention.context.linear.weight"],
            state["fusion_model.attn.conv.weight"].squeeze(-1),
        )


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("network", RELEASED)
def test_bare_and_wrapped_state_dicts_convert_alike(
    network: str, prefix: str, suffix: str, tmp_path: Path
) -> None:
    state = released_peer_state(network, (1, 1, 1, 0))
    path = tmp_path / f"checkpoint{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save({prefix + name: tensor for name, tensor in state.items()}, path)
    result = convert_checkpoint(path)
    assert result.model.config.network == network and result.missing == []
    assert torch.equal(result.model.state_dict()["head.bias"], state["head.bias"])


@pytest.mark.parametrize("name", ["lora_v_a", "lora_a", "tgca_a"])
def test_converted_and_saved_checkpoint_gives_the_released_logits(name: str, tmp_path: Path) -> None:
    case = load_file(GOLDEN / name / "case.safetensors")
    released = load_file(GOLDEN / name / "official_state_dict.safetensors")
    result = convert_checkpoint(whole(released, tmp_path / "checkpoint.pth", input_size=64))
    result.model.save_pretrained(tmp_path / "out")
    model = load_peer(tmp_path / "out")
    text = None
    if result.text_encoder:
        save_text_encoder(result.text_encoder, tmp_path / "bert", heads=4)
        encoder = transformers.BertModel.from_pretrained(tmp_path / "bert").eval()
        with torch.no_grad():
            states = encoder(
                input_ids=case["input_ids"], attention_mask=case["attention_mask"], output_hidden_states=True
            ).hidden_states
        text = last_four_mean(states)
    with torch.no_grad(), released_choice(case, "mghft.model.peers.lora"):
        logits = model(case["image"], text).logits
    torch.testing.assert_close(logits, case.get("logits_alone", case["logits"]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("network", RELEASED)
@pytest.mark.parametrize(
    ("in_weights", "in_args"),
    [((1, 1, 1, 1), None), ((0, 0, 0, 1), None), ((1, 1, 1, 1), [1, 1, 1, 1]), ((1, 1, 1, 0), [1, 1, 1, 1])],
)
def test_locals_that_never_ran_are_refused_in_one_sentence(
    network: str, in_weights: tuple[int, ...], in_args: list[int] | None, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pth"
    state = released_peer_state(network, in_weights)
    torch.save({"model": state, "args": argparse.Namespace(locals=in_args)}, path)
    sentence = (
        f"{path} is of a {TITLES[network]} whose locals end with 1, with which its released code "
        "does not run: pass a checkpoint of a training whose locals end with 0"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        convert_checkpoint(path)


@pytest.mark.parametrize("network", RELEASED)
def test_locals_of_the_golden_cases_convert_and_say_so(network: str, tmp_path: Path) -> None:
    """With the `locals` that their config.json has, as args."""
    name = {"lora-v": "lora_v_a", "lora": "lora_a", "tgca-pvt": "tgca_a"}[network]
    flags = json.loads((GOLDEN / name / "config.json").read_text())["locals"]
    content = {"model": released_peer_state(network, flags), "args": argparse.Namespace(locals=flags)}
    torch.save(content, tmp_path / "checkpoint.pth")
    assert convert_checkpoint(tmp_path / "checkpoint.pth").model.config.local_flags == "1110"


@pytest.mark.parametrize("network", RELEASED)
def test_lack_of_any_parameter_is_refused(network: str, tmp_path: Path) -> None:
    state = released_peer_state(network, (1, 0, 1, 0))
    path = tmp_path / "checkpoint.safetensors"
    # One of its kind: of later blocks and stages the same is asked.
    kinds = {re.sub(r"\d", "", name): name for name in state if name not in UNREAD}
    for name in kinds.values():
        if name.startswith("vision_model.conv2"):
            continue
        # Without these, which tell the network, it is another one that is not whole.
        save_file({other: tensor for other, tensor in state.items() if other != name}, path)
        with pytest.raises(
            ValueError, match=r"lacks|does not fit|no weights of MGHFT|is not one of|fits no alpha|runs"
        ):
            convert_checkpoint(path)


@pytest.mark.parametrize("network", RELEASED)
def test_tensor_of_another_shape_is_refused(network: str, tmp_path: Path) -> None:
    state = released_peer_state(network, (1, 1, 1, 0))
    name = "vision_model.patch_embed2.fft.r" if network == "tgca-pvt" else "fusion_model.attn.out.weight"
    state[name] = torch.zeros(9, 9)
    save_file(state, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match=r"does not fit .* at parameter"):
        convert_checkpoint(tmp_path / "checkpoint.safetensors")


def test_gate_with_numbers_before_the_first_stage_is_no_released_one(tmp_path: Path) -> None:
    state = released_peer_state("tgca-pvt", (1, 1, 1, 0))
    state["vision_model.patch_embed1.fft.SE1.fc.0.weight"] = torch.ones(1, 3)
    save_file(state, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match=r"'frequency\.0\.real_gate\.reduce\.weight'"):
        convert_checkpoint(tmp_path / "checkpoint.safetensors")


def test_foreign_parameter_is_refused(tmp_path: Path) -> None:
    state = released_peer_state("lora", (1, 1, 1, 0)) | {"vision_model.stem.weight": torch.zeros(1)}
    save_file(state, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match=r"'vision_model\.stem\.weight' is not one of LORA's"):
        convert_checkpoint(tmp_path / "checkpoint.safetensors")


def test_nan_is_refused(tmp_path: Path) -> None:
    state = released_peer_state("tgca-pvt", (1, 1, 1, 0))
    state["vision_model.conv2.bias"][1] = float("nan")
    save_file(state, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match=r"NaN or infinity in 'vision_model\.conv2\.bias'"):
        convert_checkpoint(tmp_path / "checkpoint.safetensors")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "exploded",)

    path = tmp_path / "checkpoint.pth"
    path.write_bytes(pickle.dumps({"model": released_peer_state("lora", (1, 1, 1, 0)), "args": Bomb()}))
    with pytest.raises(ValueError, match="was refused because it"):
        convert_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("network", RELEASED)
def test_wanted_network_and_fields_must_be_those_of_the_file(network: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_file(released_peer_state(network, (1, 1, 1, 0), alpha=2), path)
    assert convert_checkpoint(path, network=network).model.config.network == network
    with pytest.raises(ValueError, match="not of mghft: leave the network out"):
        convert_checkpoint(path, network="mghft")
    with pytest.raises(ValueError, match="has alpha 2, not 3"):
        convert_checkpoint(path, alpha=3)
    with pytest.raises(ValueError, match="network is 'vgg': choose one of mghft, pvt,"):
        convert_checkpoint(path, network="vgg")


def test_checkpoint_of_mghft_is_still_that(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_file(released_state((1, 0, 1, 0)), path)
    assert isinstance(convert_checkpoint(path).model, MGHFT)
    with pytest.raises(ValueError, match="is a released checkpoint of MGHFT, not of lora"):
        convert_checkpoint(path, network="lora")


def test_other_numbers_of_heads_are_told_by_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    state = released_peer_state("lora", (1, 1, 1, 0))
    heads = (2, 2, 4, 4)
    tokens = 4 + sum(h * r**2 for h, r in zip(heads, (8, 4, 2, 1), strict=True)) + 30
    state["pos_embed"] = torch.zeros(1, tokens, state["pos_embed"].shape[2])
    save_file(state, path)
    with pytest.raises(ValueError, match=f"pos_embed of {tokens} tokens fits no alpha"):
        convert_checkpoint(path)
    config = convert_checkpoint(path, num_heads=heads, fusion_heads=4).model.config
    assert (config.alpha, config.num_heads, config.fusion_heads) == (1, heads, 4)


@pytest.mark.parametrize("network", ["pvt", "pvt-bert", "lora-v", "lora", "tgca-pvt"])
def test_imagenet_weights_start_any_peer(network: str, tmp_path: Path) -> None:
    released = released_peer_state("lora-v", (0, 0, 0, 0))
    own = {
        name.removeprefix("vision_model."): tensor
        for name, tensor in released.items()
        if name.startswith("vision_model.")
    }
    save_file(
        own | {"head.weight": torch.ones(1000, 64), "head.bias": torch.ones(1000)},
        tmp_path / "pvt.safetensors",
    )
    more = {"hidden_dim": 48, "fusion_mlp_dim": 96}
    result = convert_checkpoint(tmp_path / "pvt.safetensors", network=network, **more)
    model = result.model
    assert isinstance(model, Peer) and isinstance(model.backbone, PyramidVisionTransformer)
    assert torch.equal(model.state_dict()["token_norm.weight"], own["norm.weight"])
    assert result.left_over == ["head.weight", "head.bias"] or set(result.left_over) == {
        "head.weight",
        "head.bias",
    }
    if network == "pvt":
        assert result.missing == ["head.weight", "head.bias"]


def test_saved_peer_is_no_checkpoint(tmp_path: Path) -> None:
    save_file(released_peer_state("lora", (1, 0, 0, 0)), tmp_path / "checkpoint.safetensors")
    model = convert_checkpoint(tmp_path / "checkpoint.safetensors").model
    assert isinstance(model, LORA)
    model.save_pretrained(tmp_path / "saved")
    with pytest.raises(ValueError, match="load_peer"):
        convert_checkpoint(tmp_path / "saved")
