import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import MGHFT, MGHFTConfig, load_official_checkpoint, load_pvt_weights
from model.convert import convert_official, read_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "a" / "official_state_dict.safetensors"
EARLY_CLASS_TOKENS = {f"backbone.stages.{stage}.class_token" for stage in range(3)}


@pytest.fixture
def released() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@pytest.fixture
def model() -> MGHFT:
    return MGHFT(MGHFTConfig.preset("tiny", depths=(3, 4, 6, 3)))


@pytest.fixture
def pvt(released: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as PVT's own ImageNet files have it."""
    own = (
        "cls_token1",
        "cls_token2",
        "cls_token3",
        "cross_proj",
        "local_proj",
        "global_proj",
        "norm_t",
        "tau",
    )
    prefix = "vision_model."
    names = [name for name in released if name.startswith(prefix) and not name[len(prefix) :].startswith(own)]
    return {name[len(prefix) :]: released[name] for name in names} | {
        "head.weight": torch.zeros(1000, 64),
        "head.bias": torch.zeros(1000),
    }


def test_whole_training_checkpoint_is_read(released: dict[str, Tensor], model: MGHFT, tmp_path: Path) -> None:
    content = {
        "model": released,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
        "lr_scheduler": {"base_values": [1e-3]},
        "epoch": 49,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(batch_size=16, data_path="data", lr=1e-3),
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    load_official_checkpoint(model, tmp_path / "checkpoint.pth")
    assert torch.equal(model.head.weight, released["head.weight"])


def test_every_released_parameter_has_a_place(released: dict[str, Tensor], model: MGHFT) -> None:
    ours, encoder = convert_official(released)
    assert set(ours) == set(model.state_dict()) - {"missing_view", "text_mean", "text_scale"}
    assert len(ours) + len(encoder) == len(released) - 3


def test_checkpoint_of_other_dimensions_is_refused(released: dict[str, Tensor]) -> None:
    other = MGHFT(MGHFTConfig.preset("tiny", depths=(3, 4, 6, 3), num_classes=10))
    with pytest.raises(ValueError, match=r"does not fit this configuration at parameter 'head\."):
        load_official_checkpoint(other, GOLDEN)


def test_foreign_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'layer1\.conv\.weight' is not one of MGHFT's"):
        convert_official({"layer1.conv.weight": torch.zeros(1)})


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_fill_the_backbone_but_for_the_early_class_tokens(
    pvt: dict[str, Tensor], model: MGHFT, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"pvt_small{suffix}"
    (torch.save if suffix == ".pth" else save_file)(pvt, path)
    head = model.head.weight.clone()
    assert set(load_pvt_weights(model, path)) == EARLY_CLASS_TOKENS
    state = model.state_dict()
    assert torch.equal(state["backbone.stages.2.blocks.5.mlp.fc2.weight"], pvt["block3.5.mlp.fc2.weight"])
    assert torch.equal(state["token_norm.weight"], pvt["norm.weight"])
    assert torch.equal(model.head.weight, head)


def test_weights_of_another_pvt_are_refused(pvt: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(pvt, tmp_path / "pvt.safetensors")
    with pytest.raises(ValueError, match="choose the PVT size that matches"):
        load_pvt_weights(MGHFT(MGHFTConfig.preset("tiny")), tmp_path / "pvt.safetensors")


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_hostile_file_is_refused_without_running_it(
    write: Callable[[object, Path], object], model: MGHFT, tmp_path: Path
) -> None:
    trace = tmp_path / "ran"
    path = tmp_path / "hostile.pth"
    write({"model": Hostile(f"touch {trace}")}, path)
    with pytest.raises(ValueError, match=r"hostile\.pth was refused .*: use a \.safetensors file") as caught:
        load_pvt_weights(model, path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_file_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="was refused"):
        read_weights(path)


def test_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "weights.pth")


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        read_weights(tmp_path / "absent.pth")
