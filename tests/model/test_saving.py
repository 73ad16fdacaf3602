"""What is written has the permissions of any new file and is on the disk before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from mghft.model import MGHFT, save_text_encoder

Build = Callable[..., MGHFT]
Event = tuple[str, str]


@pytest.fixture
def umask() -> Iterator[None]:
    """A group may read, others may not."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What reached the disk and what was renamed, in order, by name."""
    events: list[Event] = []
    fsync = os.fsync

    def record_sync(handle: int) -> None:
        fsync(handle)
        events.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name))

    def recorder(original: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def record(self: Path, target: Path) -> Path:
            events.append(("rename", self.name))
            return original(self, target)

        return record

    monkeypatch.setattr(os, "fsync", record_sync)
    for name in ("replace", "rename"):
        monkeypatch.setattr(Path, name, recorder(getattr(Path, name)))
    return events


def save_bert(folder: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    model = BertModel(BertConfig(vocab_size=40_000, max_position_embeddings=8, **sizes))
    tensors = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    save_text_encoder(tensors, folder, tokenizer="minilm")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_files_of_a_model_have_the_permissions_of_the_umask(tiny: Build, tmp_path: Path, umask: None) -> None:
    tiny().save_pretrained(tmp_path / "saved")
    names = ("README.md", "config.json", "model.safetensors")
    assert modes(tmp_path / "saved") == dict.fromkeys(names, 0o640)


def test_files_of_a_text_encoder_have_the_permissions_of_the_umask(tmp_path: Path, umask: None) -> None:
    save_bert(tmp_path / "bert")
    found = modes(tmp_path / "bert")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found.keys()
    assert set(found.values()) == {0o640}


def test_files_of_a_model_are_on_the_disk_before_they_have_their_names(
    tiny: Build, tmp_path: Path, events: list[Event]
) -> None:
    tiny().save_pretrained(tmp_path / "saved")
    renamed = [name for kind, name in events if kind == "rename"]
    assert renamed == [".model.safetensors.new", ".README.md.new", ".config.json.new"]
    for name in renamed:
        assert events.index(("sync", name)) < events.index(("rename", name))
    assert events[-1] == ("sync", "saved")


def test_files_of_a_text_encoder_are_on_the_disk_before_their_folder_has_its_name(
    tmp_path: Path, events: list[Event]
) -> None:
    save_bert(tmp_path / "bert")
    place = events.index(("rename", ".bert.new"))
    synced = {name for kind, name in events[:place] if kind == "sync"}
    assert {path.name for path in (tmp_path / "bert").iterdir()} | {".bert.new"} <= synced
    assert events[place + 1] == ("sync", tmp_path.name)
