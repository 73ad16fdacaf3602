"""One name at top level: a user's own train.py, model/ or pipeline/ neither hide ours nor run instead."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
THEIRS = "raise SystemExit('a file of the user ran')\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of somebody's own project, with the names that beginners give."""
    for name in ("train.py", "model.py", "model/__init__.py", "pipeline/__init__.py", "prompts/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(THEIRS, encoding="utf-8")
    return tmp_path


def output(project: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


FIELDS = ("train", "--fields")


@pytest.mark.parametrize(
    "command",
    [
        (BIN / "mghft", *FIELDS),
        (sys.executable, "-m", "mghft", *FIELDS),
        (BIN / "torchrun", "--nproc-per-node", "1", "-m", "mghft", *FIELDS),
        (BIN / "accelerate", "launch", "--cpu", "--num_processes", "1", "-m", "mghft", *FIELDS),
    ],
    ids=["mghft", "python -m", "torchrun", "accelerate"],
)
def test_command_runs_beside_files_of_the_same_names(project: Path, command: tuple[str | Path, ...]) -> None:
    assert "epochs: passes over the training split (default 50)" in output(project, *command)


def test_every_module_can_be_imported_beside_files_of_the_same_names(project: Path) -> None:
    everything = (
        "import importlib, pkgutil, mghft\n"
        "for found in pkgutil.walk_packages(mghft.__path__, 'mghft.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "print(mghft.MGHFT.__name__, mghft.load_corpus.__name__)"
    )
    assert output(project, sys.executable, "-W", "ignore", "-c", everything) == "MGHFT load_corpus\n"


def test_importing_the_package_loads_neither_torch_nor_pydantic(tmp_path: Path) -> None:
    heavy = "import sys, mghft; print({'torch', 'pydantic', 'numpy'} & set(sys.modules))"
    assert output(tmp_path, sys.executable, "-c", heavy) == "set()\n"


def test_links_at_the_root_lead_into_the_package() -> None:
    for name in ("pipeline", "model", "train", "prompts", "data_cards"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).resolve() == ROOT / "mghft" / name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """site-packages of an empty environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("mghft", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    for name in ("pipeline", "model", "train"):
        (source / name).symlink_to(f"mghft/{name}")
    output(source, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    (wheel,) = folder.glob("*.whl")
    output(folder, sys.executable, "-m", "venv", "--without-pip", "env")
    environment = folder / "env" / "bin" / "python"
    output(folder, sys.executable, "-m", "pip", "--python", environment, "install", "-q", "--no-deps", wheel)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    return packages


def test_wheel_brings_one_package_and_nothing_else_at_top_level(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"mghft"}


def test_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "mghft"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("the list of files comes from git, and this is no checkout")
    lacking = [name for name in tracked.stdout.splitlines() if not (installed / name).is_file()]
    assert lacking == []


def test_installed_package_finds_its_cards_packs_recipes_and_model(installed: Path, tmp_path: Path) -> None:
    found = output(
        tmp_path,
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import mghft\n"
        "from mghft.pipeline.corpora.card import card_names\n"
        "from mghft.pipeline.prompting.load import pack_names\n"
        "from mghft.pipeline.tiny_llava import checkpoint_path\n"
        "from mghft.train.config import recipe_names\n"
        "print(mghft.__file__, len(card_names()), len(pack_names()), recipe_names(), checkpoint_path())",
    )
    assert found == (
        f"{installed / 'mghft' / '__init__.py'} 8 6 ['cpu', 'mghft'] "
        f"{installed / 'mghft' / 'pipeline' / 'tiny_llava' / 'checkpoint'}\n"
    )
