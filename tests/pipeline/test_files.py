"""Files and folders that are not to be replaced unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from mghft.pipeline.files import check_folder, check_target


def test_new_target_and_forced_one_are_fine(tmp_path: Path) -> None:
    check_target(tmp_path / "new.csv")
    (tmp_path / "old.csv").touch()
    check_target(tmp_path / "old.csv", True)


@pytest.mark.parametrize(("force", "way_out"), [(None, "move it away"), (False, "replace it with --force")])
def test_existing_target_is_refused_with_the_ways_out(
    tmp_path: Path, force: bool | None, way_out: str
) -> None:
    (tmp_path / "old.csv").touch()
    with pytest.raises(ValueError, match=rf"old\.csv already exists: give another with --out, or {way_out}$"):
        check_target(tmp_path / "old.csv", force)


@pytest.mark.parametrize("force", [None, False, True])
def test_folder_is_no_target(tmp_path: Path, force: bool | None) -> None:
    with pytest.raises(ValueError, match="is a folder: give a file with --out"):
        check_target(tmp_path, force)


def test_folder_may_be_new_empty_or_in_use_as_it_is_asked_for(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", empty=True)
    check_folder(tmp_path, empty=True)
    (tmp_path / "file").touch()
    check_folder(tmp_path)
    with pytest.raises(ValueError, match="already exists and is not empty"):
        check_folder(tmp_path, empty=True)
    with pytest.raises(ValueError, match="file is a file: give a folder with --out"):
        check_folder(tmp_path / "file")
