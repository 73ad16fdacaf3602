"""A trial on disk: its manifest says which prompts were asked about which stickers.

A folder of trials holds `try-001`, `try-002`, …; a trial holds its manifest, a run folder for each pack, a
page and a summary. File names say `try`, as those written first do.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mghft.pipeline.corpora.selection import Selection
from mghft.pipeline.files import write_text

FILE = "try.json"
PAGE, SUMMARY = "index.html", "summary.md"
_PREFIX = "try-"


class Subset(Selection):
    """The stickers of a trial: their selection, and what it came to."""

    stickers: int
    ids_sha256: str
    classes: dict[str, int]


class TrialPack(BaseModel):
    """One pack of a trial; `folder` is its run folder inside the trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    given: str
    folder: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    sha256: str
    fingerprint: str


class Trial(BaseModel):
    """The manifest of a trial, `try.json`; written before anything is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    key: str
    created: str
    card: str
    model: str
    engine: str
    subset: Subset
    packs: tuple[TrialPack, ...]


def read_trial(folder: Path) -> Trial:
    """Read the manifest of a trial.

    Raises:
        FileNotFoundError: the folder is not a trial.
        ValueError: the manifest is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the folder {folder} is not a trial of `mghft prompts try`: it has no {FILE}"
        )
    try:
        return Trial.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ValueError(f"the manifest {path} is damaged or was changed: move its folder aside") from None


def trial_folders(trials: Path) -> list[Path]:
    """List the trials in a folder, oldest first."""
    return sorted(path.parent for path in trials.glob(f"{_PREFIX}*/{FILE}"))


def open_trial(trials: Path, trial: Trial) -> tuple[Path, Trial]:
    """Return the folder of a trial of the same stickers and prompts, or a new one with its manifest."""
    numbers = [0]
    for folder in sorted(trials.glob(f"{_PREFIX}*")):
        if (number := folder.name.removeprefix(_PREFIX)).isdecimal():
            numbers.append(int(number))
        try:
            existing = read_trial(folder)
        except (FileNotFoundError, ValueError):
            continue
        if existing.key == trial.key:
            return folder, trial.model_copy(update={"created": existing.created})
    folder = trials / f"{_PREFIX}{max(numbers) + 1:03d}"
    folder.mkdir()
    write_text(folder / FILE, trial.model_dump_json(indent=2) + "\n")
    return folder, trial
