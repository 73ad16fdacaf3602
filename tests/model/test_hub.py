"""Saving, loading and publishing; the hub is never asked, its own functions are replaced at the border."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, ModelHubMixin
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from mghft.model import MGHFT, MGHFTConfig

Build = Callable[..., MGHFT]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny: Build, tmp_path: Path) -> Path:
    """A saved model."""
    tiny().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def _change(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}), encoding="utf-8")


def _same(first: MGHFT, second: MGHFT) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_folder_without_a_card_loads(folder: Path) -> None:
    model = MGHFT.from_pretrained(folder)
    (folder / "README.md").unlink()
    assert _same(MGHFT.from_pretrained(folder), model) and not model.training


def test_configuration_is_saved_field_by_field(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    assert fields.pop("model_type") == "mghft"
    assert fields == MGHFTConfig.preset("tiny").model_dump(mode="json")


def test_model_is_a_hub_model() -> None:
    assert issubclass(MGHFT, ModelHubMixin)


def test_card_that_is_there_is_kept(tiny: Build, folder: Path) -> None:
    (folder / "README.md").write_text("mine", encoding="utf-8")
    tiny().save_pretrained(folder)
    assert (folder / "README.md").read_text() == "mine"


def test_saved_files_have_the_same_permissions(folder: Path) -> None:
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_save_that_fails_leaves_the_earlier_model_and_nothing_else(
    tiny: Build, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = MGHFT.from_pretrained(folder)
    names = sorted(path.name for path in folder.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tiny().save_pretrained(folder)
    assert _same(MGHFT.from_pretrained(folder), before)
    assert sorted(path.name for path in folder.iterdir()) == names


def test_save_that_stops_between_two_files_leaves_no_mixed_model(
    tiny: Build, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if target.name == "config.json":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        tiny().save_pretrained(folder)
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        MGHFT.from_pretrained(folder)


def _set_name(folder: Path) -> None:
    _change(folder, colour="red")


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def _rewrite(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return rewrite


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_set_name, "unknown field 'colour'"),
        (lambda folder: _change(folder, model_type="bert"), "not that of an MGHFT model"),
        (lambda folder: _change(folder, alpha=-1), "alpha: must be greater than 0"),
        (lambda folder: _change(folder, num_classes=9), r"'head.weight' is \(7, 48\) where \(9, 48\)"),
        (lambda folder: _change(folder, hidden_dim=48 * 10**6), "where .*48000000"),
        (lambda folder: _change(folder, depths=[1, 10**9, 2, 1]), r"depths is .* the weights have \(1, 2, 2"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "not that of an MGHFT model"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[" * 10**5), "config.json is not JSON"),
        (lambda folder: (folder / "config.json").write_text(" " * 2**21), "larger than any configuration"),
        (_truncate, "does not hold a usable"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "does not hold a usable"),
        (_rewrite(lambda state: state.pop("head.bias")), "'head.bias' is missing"),
        (_rewrite(lambda state: state.update(more=torch.zeros(1))), "'more' is .* nothing is wanted"),
        (_rewrite(lambda state: state["head.bias"].fill_(torch.nan)), "'head.bias' holds NaN"),
        (_rewrite(lambda state: state.update({"head.bias": torch.zeros(7).int()})), "is I32 where floating"),
    ],
)
def test_files_that_cannot_be_trusted_are_refused_in_one_sentence(
    folder: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=reason) as caught:
        MGHFT.from_pretrained(folder)
    assert str(caught.value).startswith(f"{folder} does not hold a usable MGHFT model (")
    assert "\n" not in str(caught.value)


def test_argument_that_would_change_the_model_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="no argument 'num_classes'"):
        MGHFT.from_pretrained(folder, num_classes=3)


def test_model_in_the_hub_s_cache_is_loaded_without_a_network(tiny: Build, tmp_path: Path) -> None:
    model = tiny()
    repository = tmp_path / "models--someone--stickers"
    model.save_pretrained(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    loaded = MGHFT.from_pretrained("someone/stickers", cache_dir=tmp_path, local_files_only=True)
    assert _same(loaded, model)


def test_revision_reaches_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repo: str, name: str, **options: object) -> str:
        asked.append((repo, name, options["revision"]))
        return str(folder / name)

    monkeypatch.setattr("mghft.model.checkpoint_files.hf_hub_download", download)
    MGHFT.from_pretrained("someone/stickers", revision="v2")
    assert asked == [("someone/stickers", name, "v2") for name in ("config.json", "model.safetensors")]


def test_model_that_is_not_in_the_cache_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model at someone/else \(.*: name a folder or") as caught:
        MGHFT.from_pretrained("someone/else", cache_dir=tmp_path, local_files_only=True)
    assert isinstance(caught.value.__cause__, LocalEntryNotFoundError) and "\n" not in str(caught.value)


def test_mistyped_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"names no folder here and has not the form owner/name"):
        MGHFT.from_pretrained(tmp_path / "not" / "there")


class Hub:
    """Takes the place of the two functions that talk to the hub, and keeps what they were given."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.uploaded: dict[str, bytes] = {}
        self.options: dict[str, Any] = {}

    def create_repo(self, **options: Any) -> SimpleNamespace:
        self.made = options
        return SimpleNamespace(repo_id=options["repo_id"])

    def upload_folder(self, *, folder_path: Path, **options: Any) -> str:
        self.uploaded = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        self.options = options
        return "address of the commit"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(HfApi, "create_repo", lambda self, **options: hub.create_repo(**options))
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **options: hub.upload_folder(**options))
    return hub


def test_published_files_are_the_model(tiny: Build, hub: Hub, tmp_path: Path) -> None:
    model = tiny()
    address = model.push_to_hub("someone/stickers", commit_message="first", branch="try")
    assert address == "address of the commit"
    assert sorted(hub.uploaded) == ["README.md", "config.json", "model.safetensors"]
    for name, content in hub.uploaded.items():
        (tmp_path / name).write_bytes(content)
    assert _same(MGHFT.from_pretrained(tmp_path), model)
    assert (hub.options["repo_id"], hub.options["repo_type"]) == ("someone/stickers", "model")
    assert (hub.options["commit_message"], hub.options["revision"]) == ("first", "try")


@pytest.mark.parametrize(("options", "private"), [({}, True), ({"private": False}, False)])
def test_published_model_is_private_unless_told(
    tiny: Build, hub: Hub, options: dict[str, bool], private: bool
) -> None:
    tiny().push_to_hub("someone/stickers", **options)
    assert hub.made["private"] is private


def test_save_can_publish_at_once(tiny: Build, hub: Hub, tmp_path: Path) -> None:
    assert tiny().save_pretrained(tmp_path / "stickers", push_to_hub=True) == "address of the commit"
    assert hub.made["repo_id"] == "stickers" and hub.made["private"] is True


def test_card_of_a_training_run_can_be_published(tiny: Build, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n", encoding="utf-8")
    tiny().push_to_hub("someone/stickers", model_card_kwargs={"card": tmp_path / "README.md"})
    assert hub.uploaded["README.md"].decode() == "---\nlicense: mit\n---\n# Mine\n"


CLASSES = ["anger", "disgust", "fear", "joy: the broad one", "neutral", "sadness", "surprise"]


def test_card_has_the_metadata_that_the_hub_reads(tiny: Build, tmp_path: Path) -> None:
    facts = {
        "classes": CLASSES,
        "metrics": {"accuracy": 0.568, "f1": 0.536},
        "dataset": "emoji",
        "split": "test",
    }
    tiny().save_pretrained(tmp_path, model_card_kwargs=facts)
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "mghft",
        "image-classification",
    )
    found = [(result.metric_type, result.metric_value, result.dataset_split) for result in data.eval_results]
    assert found == [("accuracy", 0.568, "test"), ("f1", 0.536, "test")]
    assert {"mghft", "model_hub_mixin"} <= set(data.tags)


def test_card_tells_people_classes_loading_and_whom_to_cite(tiny: Build) -> None:
    text = tiny().generate_model_card(classes=CLASSES).text
    for words in (", ".join(CLASSES), "MGHFT.from_pretrained(", "ACM MM 2025", "alpha 1"):
        assert words in text


def test_model_without_text_says_so_in_its_card(tiny: Build) -> None:
    assert "Text features" in tiny().generate_model_card().text
    assert "Text features" not in tiny(use_text=False).generate_model_card().text


def test_metrics_without_a_dataset_are_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="metrics without a dataset"):
        tiny().generate_model_card(metrics={"accuracy": 0.5})


def test_wrong_number_of_classes_is_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="2 classes were named for a model of 7"):
        tiny().generate_model_card(classes=["joy", "fear"])
