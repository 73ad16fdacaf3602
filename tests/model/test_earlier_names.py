"""Files of before `missing_view` was called `missing_view_embedding` are read wherever weights are read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mghft.model import MGHFT
from mghft.model.joint import load_weights

Build = Callable[..., MGHFT]
EARLIER, NAME = "missing_view", "missing_view_embedding"


def earlier(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """A state dict as an earlier version had it."""
    return {prefix + (EARLIER if name == NAME else name): value for name, value in state.items()}


@pytest.fixture
def model(tiny: Build) -> MGHFT:
    return tiny()


@pytest.fixture
def folder(model: MGHFT, tmp_path: Path) -> Path:
    """A model saved by an earlier version."""
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(earlier(tensors), tmp_path / "model.safetensors")
    return tmp_path


def same(first: MGHFT, second: MGHFT) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_new_files_have_the_new_name(model: MGHFT, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert NAME in load_file(tmp_path / "model.safetensors")
    assert EARLIER not in load_file(tmp_path / "model.safetensors")


def test_folder_is_loaded(model: MGHFT, folder: Path) -> None:
    assert same(MGHFT.from_pretrained(folder), model)


def test_checkpoint_of_a_training_is_loaded(model: MGHFT, tiny: Build, folder: Path) -> None:
    other = tiny()
    load_weights(other, folder)
    assert same(other, model)


@pytest.mark.parametrize("of", [lambda model: model, copy.deepcopy], ids=["itself", "a copy"])
def test_state_dict_is_loaded_and_left_as_it_is(
    model: MGHFT, tiny: Build, of: Callable[[MGHFT], MGHFT]
) -> None:
    state, other = earlier(model.state_dict()), of(tiny())
    other.load_state_dict(state)
    assert same(other, model) and EARLIER in state


def test_state_dict_of_a_larger_module_is_loaded(model: MGHFT, tiny: Build) -> None:
    other = tiny()
    nn.ModuleDict({"mghft": other}).load_state_dict(earlier(model.state_dict(), "mghft."))
    assert same(other, model)


def test_file_with_both_names_is_refused(model: MGHFT, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    both = {**tensors, NAME: tensors[EARLIER].clone()}
    with pytest.raises(RuntimeError, match=f'Unexpected key.*"{EARLIER}"'):
        model.load_state_dict(both)
    save_file(both, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"'{EARLIER}' is .* where nothing is wanted"):
        MGHFT.from_pretrained(folder)
