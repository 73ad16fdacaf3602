"""Experiment files: what they declare, the cells that follow, and slips that are named."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mghft.train.config import load_config
from mghft.train.experiments.cells import Cell, lock_cell, plan_cells
from mghft.train.experiments.experiment import SHIPPED, load_experiment, read_options, write_options

PLAIN: dict[str, Any] = {
    "title": "Two networks",
    "cards": ["emoji"],
    "data": "data",
    "seeds": [1, 2],
    "train": {"recipe": "cpu", "epochs": 3},
    "systems": {
        "late": {"eval": ["text", "plain"], "system": "late fusion, mean"},
        "text": {"train": {}},
        "plain": {"train": {"use_text": False}},
    },
}


def cells_of(tmp_path: Path, **changes: Any) -> list[Cell]:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changes}, sort_keys=False))
    return plan_cells(load_experiment(str(path), {}), tmp_path / "out")


def test_cells_are_systems_times_seeds_and_what_is_evaluated_comes_after_its_trainings(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path)
    assert [(cell.name, cell.seed) for cell in cells] == [
        (name, seed) for seed in (1, 2) for name in ("text", "plain", "late")
    ]
    text, plain, late = cells[:3]
    assert late.needs == (text, plain)
    assert plain.fields == {"recipe": "cpu", "epochs": 3, "use_text": False}
    assert len({cell.folder for cell in cells}) == 6


def test_settings_multiply_the_trained_rows(tmp_path: Path) -> None:
    cells = cells_of(
        tmp_path,
        seeds=[1],
        settings={"alpha 2": {"model": {"alpha": 2}}, "alpha 4": {"model.alpha": 4}},
        systems={
            "text": {"train": {"model": {"preset": "tiny"}}},
            "plain": {"train": {"use_text": False}, "settings": ["alpha 4"]},
            "majority": {"eval": ["text"], "system": "majority", "settings": []},
        },
    )
    names = ["text", "plain", "majority", "text, alpha 2", "text, alpha 4", "plain, alpha 4"]
    assert [cell.name for cell in cells] == names
    assert cells[4].fields["model"] == {"preset": "tiny", "alpha": 4}


def test_folder_of_a_cell_is_named_by_what_decides_its_result(tmp_path: Path) -> None:
    before = {cell.name: cell.folder for cell in cells_of(tmp_path, seeds=[1])}
    changed = {
        "text": {"train": {"lr": 0.1}},
        "plain": PLAIN["systems"]["plain"],
        "late": PLAIN["systems"]["late"],
    }
    after = {cell.name: cell.folder for cell in cells_of(tmp_path, seeds=[1], systems=changed, title="Other")}
    assert after["plain"] == before["plain"]
    # What is evaluated together hangs on both trainings.
    assert after["text"] != before["text"] and after["late"] != before["late"]


def test_state_follows_the_lock_and_the_files(tmp_path: Path) -> None:
    cell = cells_of(tmp_path)[0]
    assert cell.state() == "waiting"
    cell.folder.mkdir(parents=True)
    assert cell.state() == "waiting"
    (cell.folder / "failed.json").write_text("{}")
    assert cell.state() == "failed"
    with (cell.folder / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert cell.state() == "running"
        with lock_cell(cell.folder) as held:
            assert held is None
    with lock_cell(cell.folder) as held:
        assert held is not None
    cell.predictions.write_bytes(b"")
    assert cell.state() == "done"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": [1]}, "the experiment mine.yaml has no field 'sedes': did you mean seeds"),
        ({"systems": {"a": {"trian": {}}}}, "no field 'systems.a.trian'"),
        (
            {"systems": {"a": {}}},
            "systems.a: a system has one of train, eval, command and predictions, this one has none",
        ),
        (
            {"systems": {"a": {"train": {}, "predictions": "x.parquet"}}},
            "this one has train and predictions",
        ),
        ({"systems": {"a": {"train": {}}, "b": {"eval": ["a"]}}}, "systems.b: system: say which system"),
        (
            {"systems": {"b": {"eval": ["a"], "system": "majority"}}},
            "systems.b.eval: 'a' is no trained system",
        ),
        (
            {"systems": {"a": {"command": ["probe", "{sede}"]}}},
            "'{sede}' holds a word in braces that is none of {card}",
        ),
        ({"systems": {"a": {"train": {"seed": 4}}}}, "systems.a.train.seed: every cell has its own"),
        ({"train": {"out": "x"}}, "train.out: every cell has its own"),
        ({"split": "dev"}, "split: 'dev' is not among the splits validation, test"),
        ({"systems": {"a": {"train": {}, "settings": ["s"]}}}, "there is no setting 's'"),
        ({"seeds": []}, "is wrong at seeds"),
    ],
)
def test_slip_is_named_with_file_and_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"the experiment mine\.yaml") as caught:
        cells_of(tmp_path, **changes)
    assert message in str(caught.value)


def test_unknown_experiment_names_the_shipped_ones() -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"there is no experiment 'emojis' \(did you mean emoji\?\): .* one of .*emoji.*ser30k",
    ):
        load_experiment("emojis", {})


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_experiments_are_sound(path: Path, tmp_path: Path) -> None:
    """Every training of every shipped file is a configuration that `mghft train` takes."""
    experiment = load_experiment(path.stem, {"data": tmp_path})
    cells = plan_cells(experiment, tmp_path)
    assert experiment.against is None or experiment.against in {cell.name for cell in cells}
    for cell in cells:
        if cell.system.train is not None:
            fields = dict(cell.fields)
            recipe = fields.pop("recipe", "mghft")
            places = {"card": cell.card, "data": tmp_path, "descriptions": tmp_path, "out": tmp_path / "run"}
            load_config(recipe, None, {**fields, **places, "seed": cell.seed})


def test_descriptions_are_known_by_their_fingerprint_wherever_they_lie(tmp_path: Path) -> None:
    for name, fingerprint in (("here", "abc"), ("moved", "abc"), ("other", "def")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"fingerprint": fingerprint}))
    here, moved, other = (
        cells_of(tmp_path, descriptions=str(tmp_path / name))[0].folder for name in ("here", "moved", "other")
    )
    assert here == moved != other


def test_options_of_the_last_run_are_those_of_whoever_only_looks(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PLAIN))
    assert read_options(tmp_path / "out") == {}
    given = {"seeds": (7,), "cards": ("ser30k",), "train": {"lr": 0.5}, "data": Path("there")}
    run = load_experiment(str(path), given)
    write_options(tmp_path / "out", run)
    looked = load_experiment(str(path), read_options(tmp_path / "out"))
    assert looked == run and looked.train == {"recipe": "cpu", "epochs": 3, "lr": 0.5}
