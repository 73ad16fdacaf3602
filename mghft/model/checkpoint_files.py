"""Tensors out of files that others made: safetensors and `.pth`, in a folder or on the Hugging Face Hub.

Nothing in a file is run or believed: what is no plain tensor with data of its own is refused.
"""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)
from safetensors.torch import load_file
from torch import Tensor

from mghft.model.pickled_options import PLAIN_VALUES, RefusedValueError

WEIGHTS_NAME = "model.safetensors"
PICKLED_NAME = "pytorch_model.bin"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Put before every name by data-parallel training and by torch.compile, in either order.
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
_FILE_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".bin", ".tar", ".ckpt"})


class Checkpoint(NamedTuple):
    """Content of a weights file.

    Args:
        path: the file.
        tensors: by name, without what data-parallel training and torch.compile put before it ("module.",
            "_orig_mod.").
        options: the command-line options stored in a whole training checkpoint, else empty.
    """

    path: Path
    tensors: dict[str, Tensor]
    options: dict[str, Any]


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file alone; arguments and errors as of `read_checkpoint`."""
    return read_checkpoint(source).tensors


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Read a .safetensors file or a .pth file (a state dict, bare or under the key "model").

    Args:
        source: a file; a folder or a Hugging Face id that holds model.safetensors or pytorch_model.bin.

    Raises:
        FileNotFoundError: the file, folder or model does not exist.
        ValueError: the file is damaged, or holds anything but tensors, plain containers and the options of a
            training (`pickled_options`).
    """
    path = _weights_file(source)
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except Exception as error:  # a crafted file can break the reader in any way
            raise _refused(path, "is damaged") from error
        return Checkpoint(path, _unwrap(path, tensors), {})
    content = _unpickle_tensors(path)
    options: dict[str, Any] = {}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        arguments = content.get("args")
        options = dict(vars(arguments)) if isinstance(arguments, argparse.Namespace) else {}
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path} holds no state dict: use a file whose content or key 'model' maps names to tensors"
        )
    for name, tensor in content.items():
        if not _has_own_data(tensor):
            raise _refused(path, f"holds less data than its tensor {str(name)!r} claims")
    tensors = {str(name): tensor.detach() for name, tensor in content.items()}
    return Checkpoint(path, _unwrap(path, tensors), options)


def locate_file(source: str | Path, name: str, **download: Any) -> Path:
    """Return the path of a file in a folder or in a model on the Hugging Face Hub, downloaded if need be.

    Args:
        source: a folder, or a model id.
        name: of the file.
        download: options of `hf_hub_download` (revision, token, cache_dir, local_files_only, force_download).

    Raises:
        FileNotFoundError: it does not exist, or the hub can't be asked.
    """
    folder = Path(source)
    if folder.is_dir():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: name a folder written by save_pretrained")
        return folder / name
    try:
        return Path(hf_hub_download(str(source), name, **download))
    except (HFValidationError, EntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = "it names no folder here and has not the form owner/name"
        if not isinstance(error, HFValidationError):
            reason = _first_line(error)
        if isinstance(error, RepositoryNotFoundError):
            reason = "the hub has no such model, or shows it only to others: log in with `hf auth login`"
        raise FileNotFoundError(
            f"no model at {source} ({reason}): name a folder or a Hugging Face model id that holds {name}"
        ) from error


def find_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with NaN or infinity in it, None where all are finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return name
    return None


def _weights_file(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        for name in (WEIGHTS_NAME, PICKLED_NAME):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(
            f"the folder {path} holds neither {WEIGHTS_NAME} nor {PICKLED_NAME}: name the file itself"
        )
    if not _HUB_ID.fullmatch(str(source)) or path.suffix in _FILE_SUFFIXES:
        raise FileNotFoundError(f"the weights file {path} does not exist: name a .safetensors or .pth file")
    try:
        return locate_file(source, WEIGHTS_NAME)
    except FileNotFoundError as missing:
        if not isinstance(missing.__cause__, EntryNotFoundError):
            raise
        return locate_file(source, PICKLED_NAME)


def _unwrap(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    unwrapped = {_WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    if len(unwrapped) < len(tensors):
        raise _refused(path, "has one parameter under several names")
    return unwrapped


def _unpickle_tensors(path: Path) -> Any:
    try:
        _check_archive(path)
        with torch.serialization.safe_globals(PLAIN_VALUES), warnings.catch_warnings():
            # Of unusual pickle protocols; such a file either loads or is refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can break the reader in any way
        call = re.search(r"GLOBAL ([\w.]+)", str(error))
        if call is not None:
            what = f"asks for {call[1]}, which is not a tensor"
        elif isinstance(error, (_ArchiveError, RefusedValueError)):
            what = str(error)
        else:
            what = "is damaged or holds no plain tensors"
        raise _refused(path, what) from error


class _ArchiveError(ValueError):
    """What is wrong with a zip archive, as the end of "was refused because it …"."""


def _check_archive(path: Path) -> None:
    """Refuse an archive that grows when read (torch compresses no tensors), or whose bytes have changed.

    torch.load itself compares no checksum: a flipped bit of a tensor would pass for a weight.
    """
    with path.open("rb") as stream:
        if stream.read(4) != b"PK\x03\x04":
            return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise _ArchiveError("has compressed entries, which torch never writes")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _ArchiveError("has entries that overlap")
        try:
            damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            raise _ArchiveError("is damaged") from error
    if damaged is not None:
        raise _ArchiveError(f"is damaged (the checksum of its entry {damaged!r} is wrong)")


def _has_own_data(tensor: Tensor) -> bool:
    """Refuse shapes without data behind them: expanded, meta, sparse and quantized tensors."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _refused(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path} was refused because it {what}: use a .safetensors file or a checkpoint from a trusted source"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
