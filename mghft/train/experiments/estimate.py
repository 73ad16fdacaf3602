"""What an experiment will take: cells, time and disk, by finished cells or a few steps of every training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mghft.pipeline.text import plural
from mghft.train.config import load_config
from mghft.train.experiments.cells import Cell, plan_cells
from mghft.train.experiments.experiment import Experiment
from mghft.train.experiments.table import seconds_of
from mghft.train.trainer.dry_run import dry_run, duration


@dataclass(frozen=True)
class Estimate:
    """Of one training: seconds of the whole run, bytes of its folder."""

    seconds: float
    disk: float
    measured: bool


def estimate_lines(experiment: Experiment, out: Path) -> Iterator[str]:
    """Yield a line for every row and one for the whole; tries a few steps of what was never trained.

    Raises:
        ValueError, FileNotFoundError: a training cannot begin; one sentence.
    """
    cells = plan_cells(experiment, out)
    total_seconds = total_disk = 0.0
    todo = [cell for cell in cells if not cell.predictions.is_file()]
    for name in dict.fromkeys(cell.name for cell in cells):
        same = [cell for cell in cells if cell.name == name]
        left = [cell for cell in same if cell in todo]
        line = f"{name}: {plural(same, 'cell')}, {len(same) - len(left)} done"
        if left and left[0].system.train is not None:
            found = _estimate(experiment, same, left[0], out)
            total_seconds += found.seconds * len(left)
            total_disk += found.disk * len(left)
            how = "as those done" if found.measured else "by a few steps"
            line += f"; {duration(found.seconds)} and {found.disk / 2**20:.0f} MB each, {how}"
        yield line
    yield (
        f"in all: {plural(cells, 'cell')}, {len(todo)} to do, about {duration(total_seconds)} of "
        f"training one "
        f"after the other, {total_disk / 2**20:.0f} MB of disk; evaluation and descriptions come on top"
    )


def _estimate(experiment: Experiment, same: list[Cell], cell: Cell, out: Path) -> Estimate:
    done = [other for other in same if other.predictions.is_file()]
    if done:
        seconds = [seconds_of(other).get("train", 0.0) for other in done]
        size = [
            sum(file.stat().st_size for file in other.folder.rglob("*") if file.is_file()) for other in done
        ]
        return Estimate(sum(seconds) / len(done), sum(size) / len(done), measured=True)
    places = {
        "card": cell.card,
        "data": experiment.data,
        "descriptions": experiment.descriptions or out / "descriptions",
        "out": out / "dry-run",
        "seed": cell.seed,
        "cache_dir": out / "cache",
        "progress": False,
    }
    if places["data"] is None:
        del places["data"]
    out.mkdir(parents=True, exist_ok=True)
    fields = dict(cell.fields)
    config = load_config(str(fields.pop("recipe", "mghft")), None, {**fields, **places})
    tried = dry_run(config)
    # The last checkpoints, and the best weights, which are a third of one: AdamW keeps two numbers a weight.
    disk = tried.measured.checkpoint_bytes * (config.keep_checkpoints + 1 / 3)
    return Estimate(tried.whole_seconds, disk, measured=False)
