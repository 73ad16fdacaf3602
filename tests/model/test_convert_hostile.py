"""Checkpoints that are hostile, damaged or none: refused in a sentence, and nothing in them is run."""

import argparse
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mghft.model.checkpoint_files import read_checkpoint, read_weights
from mghft.model.convert import convert_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "a" / "official_state_dict.safetensors"


@pytest.fixture
def released() -> dict[str, Tensor]:
    return load_file(GOLDEN)


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def _write_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def _write_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


WRITERS = [torch.save, _write_legacy, _write_pickle]


@pytest.mark.parametrize("write", WRITERS)
def test_hostile_file_would_run_where_pickles_are_trusted(
    write: Callable[[object, Path], object], tmp_path: Path
) -> None:
    trace = tmp_path / "ran"
    path = tmp_path / "hostile.pth"
    write({"model": Hostile(f"touch {trace}")}, path)
    if write is _write_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("place", [lambda bad: bad, lambda bad: {"model": bad}, lambda bad: {"args": bad}])
@pytest.mark.parametrize("name", ["hostile.pth", "pytorch_model.bin"])
def test_hostile_file_is_refused_without_running_it(
    write: Callable[[object, Path], object], place: Callable[[Hostile], object], name: str, tmp_path: Path
) -> None:
    trace = tmp_path / "ran"
    folder = tmp_path / "folder"
    folder.mkdir()
    write(place(Hostile(f"touch {trace}")), folder / name)
    source = folder if name == "pytorch_model.bin" else folder / name
    with pytest.raises(ValueError, match=r"was refused .*: use a \.safetensors file") as caught:
        convert_checkpoint(source)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_refusal_names_the_call_that_a_hostile_file_asks_for(tmp_path: Path) -> None:
    torch.save({"model": Hostile("true")}, tmp_path / "hostile.pth")
    with pytest.raises(ValueError, match=r"asks for posix\.system, which is not a tensor"):
        read_weights(tmp_path / "hostile.pth")


def test_archive_that_grows_when_read_is_refused(released: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": {"big": torch.zeros(2**20)}}, tmp_path / "plain.pth")
    bomb = zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "bomb.pth").stat().st_size < 2**14
    with pytest.raises(ValueError, match="was refused"):
        read_weights(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1).expand(2**40), torch.empty(2**40, device="meta"), torch.eye(3).to_sparse()],
    ids=["expanded", "meta", "sparse"],
)
def test_tensor_without_data_of_its_own_is_refused(tensor: Tensor, tmp_path: Path) -> None:
    torch.save({"head.weight": tensor}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="was refused because it holds less data"):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file_is_refused(released: dict[str, Tensor], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(released, path)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(ValueError, match="was refused because it is damaged"):
        convert_checkpoint(path)


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        convert_checkpoint(tmp_path)


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
    with pytest.raises(FileNotFoundError, match=r"the weights file .* does not exist"):
        read_weights(tmp_path / "absent.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_wrappers_of_training_are_taken_off_the_names(prefix: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)({f"{prefix}head.weight": torch.ones(2)}, path)
    assert list(read_weights(path)) == ["head.weight"]


def test_parameter_under_two_names_is_refused(tmp_path: Path) -> None:
    save_file({"head.bias": torch.ones(2), "module.head.bias": torch.zeros(2)}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="has one parameter under several names"):
        read_weights(tmp_path / "two.safetensors")


@pytest.mark.parametrize("write", WRITERS[:2])
def test_paths_and_numpy_scalars_beside_the_weights_are_read(
    write: Callable[[object, Path], object], tmp_path: Path
) -> None:
    options = argparse.Namespace(
        data_path=Path("data/ser30k"),
        where=PureWindowsPath("C:/data"),
        input_size=np.int64(448),
        lr=np.float32(0.5),
        big=np.dtype(">f8").type(2.5),
        resume=np.bool_(True),
    )
    best = {"best_acc": np.float64(71.63)}
    write({"model": {"head.weight": torch.ones(2)}, "args": options, **best}, tmp_path / "weights.pth")
    found = read_checkpoint(tmp_path / "weights.pth").options
    assert found == {
        "data_path": PurePosixPath("data/ser30k"),
        "where": PureWindowsPath("C:/data"),
        "input_size": 448,
        "lr": 0.5,
        "big": 2.5,
        "resume": True,
    }
    assert type(found["input_size"]) is int and type(found["lr"]) is float


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.arange(3), "numpy"),
        (np.datetime64("2025-01-01"), "numpy"),
        (np.str_("a"), "numpy"),
        (Hostile("true"), "posix"),
    ],
)
def test_other_values_are_refused_by_name(value: object, name: str, tmp_path: Path) -> None:
    torch.save({"model": {"head.weight": torch.ones(2)}, "best": value}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=rf"was refused because it asks for {name}.*, which is not"):
        read_weights(tmp_path / "weights.pth")


def test_flipped_bit_in_an_archive_is_found(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"head.weight": torch.zeros(2**12)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["head.weight"].count_nonzero() == 1
    with pytest.raises(ValueError, match=r"is damaged \(the checksum of its entry '.*data/0' is wrong\)"):
        read_weights(path)
