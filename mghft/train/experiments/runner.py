"""Runs the cells of an experiment, each in processes of its own; several runners may share one output folder.

A cell is claimed by a lock on its folder and done when its predictions are there; whatever dies in between is
gone on with by whoever comes next.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.predictions import FILE_NAME, read_predictions, write_predictions
from mghft.pipeline.text import one_line
from mghft.train.experiments.cells import FAILURE, LOG, RECORD, Cell, lock_cell, plan_cells
from mghft.train.experiments.experiment import Experiment, needs_descriptions
from mghft.train.runs.files import read_metrics

Say = Callable[[str], None]
_PAUSE = 2.0


class CellFailedError(RuntimeError):
    """A step of a cell ended with an error; the others go on."""

    exit_code = 1


@dataclass
class Cost:
    """What the steps of a cell took: seconds of each, and the most memory of any process, in MB."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0


def run_experiment(experiment: Experiment, out: Path, say: Say) -> list[Cell]:
    """Run every cell that is not done, and wait for those that other processes work on.

    Args:
        experiment: what is to be run.
        out: folder of its cells, caches and descriptions.
        say: takes a line for people.

    Returns:
        The cells that failed.

    Raises:
        CellFailedError: the descriptions could not be written.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when the running step has saved and left.
    """
    out.mkdir(parents=True, exist_ok=True)
    cells = plan_cells(experiment, out)
    with _terminated_like_ctrl_c():
        descriptions = _described(experiment, cells, out, say)
        failed: list[Cell] = []
        while waiting := [cell for cell in cells if cell not in failed and not cell.predictions.is_file()]:
            if not _one_round(waiting, failed, experiment, descriptions, out, say):
                time.sleep(_PAUSE)
    return failed


def _one_round(
    waiting: Sequence[Cell],
    failed: list[Cell],
    experiment: Experiment,
    descriptions: Path | None,
    out: Path,
    say: Say,
) -> bool:
    """Run each cell that can be run now; return whether there was one."""
    moved = False
    for cell in waiting:
        if any(need in failed or (need.folder / FAILURE).is_file() for need in cell.needs):
            say(f"{cell.title}: left out, a training that it evaluates failed")
            failed.append(cell)
            moved = True
            continue
        if any(not need.predictions.is_file() for need in cell.needs):
            continue
        cell.folder.mkdir(parents=True, exist_ok=True)
        with lock_cell(cell.folder) as lock:
            if lock is None or cell.predictions.is_file():
                continue
            moved = True
            started = time.perf_counter()
            say(f"{cell.title}: started")
            try:
                run_cell(cell, experiment, descriptions, out, lock)
            except CellFailedError as error:
                write_json(cell.folder / FAILURE, {"error": str(error), "at": _now()})
                say(f"{cell.title}: failed: {error}")
                failed.append(cell)
            else:
                say(f"{cell.title}: done in {time.perf_counter() - started:.0f} s")
    return moved


def run_cell(cell: Cell, experiment: Experiment, descriptions: Path | None, out: Path, lock: IO[str]) -> None:
    """Run the steps of a cell and write its predictions and its record.

    Raises:
        CellFailedError: a step failed, or its predictions are not what the file says.
    """
    if cell.system.predictions is not None:
        raise CellFailedError(f"there is no predictions file {cell.system.predictions}")
    (cell.folder / FAILURE).unlink(missing_ok=True)
    cost, report = Cost(), cell.folder / "report"
    places = {
        "card": cell.card,
        "data": str(experiment.data or ""),
        "descriptions": str(descriptions or ""),
        "cache": str(out / "cache"),
        "shared": str(out / "shared"),
        "seed": str(cell.seed),
        "out": str(report),
    }
    splits = [word for split in experiment.splits for word in ("--split", split)]
    threads = None
    if cell.system.command is not None:
        words = [word.format(**places) for word in cell.system.command]
        if cell.system.folder is not None:
            report = Path(cell.system.folder.format(**places))
            (out / "shared").mkdir(exist_ok=True)
            with _one_at_a_time(out / ".shared.lock"):
                _call(words, cell.folder, cost, lock)
            words = []
    else:
        if cell.system.train is not None:
            _train(cell, experiment.num_processes, places, cost, lock)
        runs = [need.run for need in cell.needs] or [cell.run]
        # Several cells share a machine: an evaluation takes as many threads as its training was given.
        threads = json.loads((runs[0] / "config.json").read_text(encoding="utf-8"))["config"]["num_threads"]
        words = ["eval", *map(str, runs), "--out", str(report), *splits, "--stickers", "0"]
        words += ["--no-late-fusion"] if cell.system.train is not None else []
        words += ["--num-threads", str(threads)] if threads else []
    if words:
        _call(words, cell.folder, cost, lock, threads=threads)
    wanted = cell.system.system
    if cell.system.train is not None:
        wanted = json.loads((report / "report.json").read_text(encoding="utf-8"))["main"]
    _keep_predictions(report / FILE_NAME, wanted, cell)
    if cell.system.train is not None:
        # By the epochs' own clocks: a cell that was stopped and gone on with took all of them.
        cost.seconds["train"] = sum(
            line["seconds"] + line["seconds_validation"] for line in read_metrics(cell.run)
        )
    record = {
        "name": cell.name,
        "card": cell.card,
        "seed": cell.seed,
        "fields": cell.fields,
        "seconds": {name: round(seconds, 2) for name, seconds in cost.seconds.items()},
        "memory_mb": round(cost.memory_mb),
        "finished": _now(),
    }
    write_json(cell.folder / RECORD, record)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Wait for whoever holds the file's lock, then hold it: commands that share a folder, describing."""
    with path.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _train(cell: Cell, processes: int, places: dict[str, str], cost: Cost, lock: IO[str]) -> None:
    fields: dict[str, Any] = {
        **cell.fields,
        "card": cell.card,
        "seed": cell.seed,
        "cache_dir": places["cache"],
        "progress": False,
    }
    if places["data"]:
        fields["data"] = places["data"]
    if places["descriptions"] and fields.get("network", "mghft") == "mghft":
        fields["descriptions"] = places["descriptions"]
    config = cell.folder / "train.yaml"
    write_text(config, yaml.safe_dump(fields, allow_unicode=True))
    words = ["train", "--config", str(config), "--out", str(cell.run), "--resume"]
    words += ["--num-processes", str(processes)] if processes > 1 else []
    _call(words, cell.folder, cost, lock)


def _keep_predictions(source: Path, wanted: str | None, cell: Cell) -> None:
    """Write the rows of one system as the cell's own, under the name of its row and with its seed."""
    try:
        names = list(dict.fromkeys(one.system for one in read_predictions(source)))
    except (ValueError, OSError) as error:
        raise CellFailedError(one_line(error)) from error
    if wanted is None and len(names) > 1:
        raise CellFailedError(f"{source} holds the systems {', '.join(names)}: say which one with `system`")
    name = wanted or names[0]
    if name not in names:
        raise CellFailedError(f"{source} has no system {name!r}: there are {', '.join(names)}")
    table = pq.read_table(source)
    table = table.filter(pc.equal(table["system"].cast(pa.string()), name))
    for column, value in (("system", pa.scalar(cell.name)), ("seed", pa.scalar(cell.seed, pa.int64()))):
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.repeat(value, table.num_rows))
    write_predictions(cell.folder / FILE_NAME, table)


def _described(experiment: Experiment, cells: Sequence[Cell], out: Path, say: Say) -> Path | None:
    """Return the run of descriptions, described first where there is none and a cell reads it."""
    if experiment.descriptions is not None:
        return experiment.descriptions
    todo = [cell.fields for cell in cells if cell.system.train is not None and not cell.predictions.is_file()]
    if not needs_descriptions(experiment, todo):
        return None
    folder = out / "descriptions"
    with (out / ".descriptions.lock").open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        say(f"descriptions: {folder}")
        config = out / "describe.yaml"
        write_text(config, yaml.safe_dump(dict(experiment.describe), allow_unicode=True))
        words = ["describe", experiment.cards[0].split(":")[0].split("@")[0], "--config", str(config)]
        words += ["--out", str(folder), *(["--data", str(experiment.data)] if experiment.data else [])]
        _call(words, out, Cost(), lock)
    return folder


def _call(
    words: Sequence[str], folder: Path, cost: Cost, lock: IO[str], *, threads: int | None = None
) -> None:
    """Run `mghft WORDS` to its end; the child inherits the lock, and its output goes to log.txt."""
    environment = dict(os.environ)
    if threads is not None:
        environment.setdefault("OMP_NUM_THREADS", str(threads))
    log = folder / LOG
    command = [sys.executable, "-m", "mghft", *words]
    started = time.perf_counter()
    with log.open("ab") as file:
        file.write(f"\n$ mghft {' '.join(words)}\n".encode())
        file.flush()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=(lock.fileno(),),
            env=environment,
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            # It saves a checkpoint and leaves; the next run goes on from there.
            child.terminate()
            os.wait4(child.pid, 0)
            child.returncode = -signal.SIGTERM
            raise
    child.returncode = os.waitstatus_to_exitcode(status)
    cost.seconds[words[0]] = cost.seconds.get(words[0], 0.0) + time.perf_counter() - started
    cost.memory_mb = max(cost.memory_mb, usage.ru_maxrss / 1024)
    if child.returncode:
        raise CellFailedError(
            f"`mghft {words[0]}` ended with {child.returncode}: {_last_line(log)} (see {log})"
        )


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return one_line(lines[-1], 300) if lines else "it said nothing"


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the running step can save."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
