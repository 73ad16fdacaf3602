"""Beginning with weights is not going on: what fits is taken, what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from squares import World, metrics

from mghft.model import MGHFT
from mghft.train.config import build_config
from mghft.train.trainer.trainer import train
from mghft.train.trainer.warm_start import load_initial


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("initial"))


@pytest.fixture(scope="module")
def source(world: World) -> Path:
    return train(world.config("source", epochs=1, warmup_epochs=0))


def fresh(source: Path, **changes: Any) -> MGHFT:
    torch.manual_seed(7)
    config = MGHFT.from_pretrained(source / "best").config
    return MGHFT(config.model_copy(update=changes))


def test_all_weights_are_taken_where_the_labels_are_the_same(source: Path) -> None:
    model = fresh(source)
    said = load_initial(model, str(source), ("cold", "warm", "green"))
    assert said.endswith("nothing was left out")
    expected = load_file(source / "best" / "model.safetensors")
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_head_of_other_labels_is_left_out_with_a_word(source: Path) -> None:
    model = fresh(source)
    before = model.head.weight.clone()
    said = load_initial(model, str(source / "best"), ("warm", "cold", "green"))
    assert said.endswith("new are head (the head there knows cold, warm, green)")
    assert torch.equal(model.head.weight, before)


def test_parts_of_another_shape_are_left_out_with_a_word(source: Path) -> None:
    said = load_initial(fresh(source, num_classes=5, text_dim=24), str(source), ("a", "b", "c", "d", "e"))
    assert "; new are head, missing_view_embedding, text_mean, view_projection (" in said


def test_folder_without_a_run_around_it_keeps_a_head_of_the_same_size_and_says_so(
    source: Path, tmp_path: Path
) -> None:
    MGHFT.from_pretrained(source / "best").save_pretrained(tmp_path / "alone" / "model")
    said = load_initial(fresh(source), str(tmp_path / "alone" / "model"), ("a", "b", "c"))
    assert said.endswith("(the head is kept: nothing there says which labels it knows)")


def test_backbone_of_another_shape_is_refused(source: Path) -> None:
    with pytest.raises(ValueError, match=r"the backbone of .* has another shape \(backbone"):
        load_initial(fresh(source, depths=(1, 2, 1, 1)), str(source), ("cold", "warm", "green"))


def test_run_begins_with_the_weights_and_resumes_without_them(
    world: World, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = world.config("tuned", init_from=str(source), progress=True, lr=1e-9, min_lr=0, warmup_lr=0)
    run = train(config)
    assert f"started from {source}" in capsys.readouterr().out
    ours, theirs = (load_file(path / "best" / "model.safetensors") for path in (run, source))
    assert all(torch.allclose(value, theirs[name], atol=1e-6) for name, value in ours.items())
    (run / "summary.json").unlink()
    source.rename(source.with_name("gone"))
    try:
        train(config.model_copy(update={"resume": True}))
    finally:
        source.with_name("gone").rename(source)
    assert len(metrics(run)) == 2


def test_initial_weights_are_refused_for_a_run_that_is_there(world: World, source: Path) -> None:
    train(world.config("there"))
    with pytest.raises(ValueError, match="differ in init_from"):
        train(world.config("there", init_from=str(source), resume=True))


def test_initial_weights_take_the_place_of_those_of_pvt(world: World, source: Path) -> None:
    """The recipe of the paper names PVT's, and they would be overwritten at once."""
    config = world.config("both", init_from=str(source), pvt_weights=str(world.folder / "no.pth"))
    assert (train(config) / "summary.json").exists()


def test_named_changes_are_allowed_and_recorded(world: World) -> None:
    train(world.config("changed"))
    changes = {"epochs": 3, "lr": 1e-4, "augmentation": {"hflip": 0.1}, "resume": True}
    with pytest.raises(
        ValueError, match=r"differ in augmentation.hflip, epochs: .*--allow-changes augmentation"
    ):
        train(world.config("changed", **changes, allow_changes=("lr",)))
    run = train(world.config("changed", **changes, allow_changes=("lr", "augmentation", "epochs")))
    assert [line["epoch"] for line in metrics(run)] == [1, 2, 3]
    resolved = json.loads((run / "config.json").read_text())
    fields = {
        "augmentation.hflip": {"from": 0.5, "to": 0.1},
        "epochs": {"from": 2, "to": 3},
        "lr": {"from": 0.002, "to": 0.0001},
    }
    assert resolved["changes"] == [{"after": "step-00000008", "fields": fields}]
    assert resolved["identity"]["epochs"] == 3


def test_change_that_the_weights_do_not_fit_is_refused(world: World) -> None:
    config = world.config("narrow")
    train(config)
    wider = {**world.fields("narrow")["model"], "hidden_dim": 96}
    changed = world.config("narrow", model=wider, resume=True, allow_changes=("model",))
    with pytest.raises(ValueError, match=r"does not fit the changed configuration .* with --init-from"):
        train(changed)


def test_another_batch_keeps_the_share_of_the_epoch(world: World) -> None:
    config = world.config("batch", epochs=1, warmup_epochs=0)
    train(config)
    changed = build_config(
        {**config.model_dump(), "batch_size": 3, "epochs": 2, "resume": True}
        | {"allow_changes": ("batch_size", "epochs")}
    )
    assert [line["step"] for line in metrics(train(changed))] == [4, 16]


def test_changes_are_allowed_with_resume_alone(world: World) -> None:
    with pytest.raises(ValueError, match="allow_changes: it goes with resume"):
        world.config("never", allow_changes=("lr",))
