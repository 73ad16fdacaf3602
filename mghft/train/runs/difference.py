"""Two runs side by side: what differs in how they were made, on what, and in what came out.

Of trainings it is config.json and metrics.jsonl that tell, of descriptions manifest.json and stats.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mghft.pipeline.settings import differing_fields, field_at
from mghft.train.runs.files import read_json, read_metrics

Kind = Literal["training", "descriptions"]
# Where a run lies says nothing of what it is; in a second section, after what decides its numbers.
_OF_THE_PLACE = frozenset({"out", "data", "cache_dir", "resume", "progress", "tracker", "descriptions"})
# Every figure of an epoch that is no time.
_FIGURES = ("validation_accuracy", "validation_loss", "validation_f1_macro", "loss")


@dataclass(frozen=True)
class RunDifference:
    """A field in which two runs differ.

    Attributes:
        section: configuration, model, labels, versions, machine, place or result.
        field: its dotted name.
        first, second: its values, None where a run has none.
    """

    section: str
    field: str
    first: Any
    second: Any


def run_differences(first: Path, second: Path) -> list[RunDifference]:
    """Return the fields in which two runs of one kind differ: first what decides their numbers.

    Raises:
        FileNotFoundError: a folder is no run folder.
        ValueError: one is a training and the other holds descriptions, or a file is damaged.
    """
    kinds = run_kind(first), run_kind(second)
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{first} is a run of {kinds[0]} and {second} one of {kinds[1]}: compare two of one kind"
        )
    read = _training if kinds[0] == "training" else _descriptions
    sections = read(first), read(second)
    return [
        RunDifference(section, field, field_at(before, field), field_at(after, field))
        for section, before in sections[0].items()
        for after in (sections[1][section],)
        for field in differing_fields(before, after)
    ]


def run_kind(folder: Path) -> Kind:
    """Return what a run folder holds; raises FileNotFoundError where it is none."""
    if (folder / "config.json").is_file() and "identity" in read_json(folder / "config.json"):
        return "training"
    if (folder / "manifest.json").is_file():
        return "descriptions"
    raise FileNotFoundError(
        f"{folder} is not a run folder: it has neither config.json of `mghft train` nor manifest.json of "
        "`mghft describe`"
    )


def _training(folder: Path) -> dict[str, Mapping[str, Any]]:
    resolved = read_json(folder / "config.json")
    config: dict[str, Any] = {**resolved.get("config", {}), **resolved.get("identity", {})}
    # In a section of its own, fully resolved.
    config.pop("model", None)
    records = read_metrics(folder)
    best = next((record for record in reversed(records) if record["best"]), None)
    start = dict((resolved.get("starts") or [{}])[-1])
    machine = {"processor": (resolved.get("processors") or [None])[-1]}
    machine |= {name: start.get(name) for name in ("device", "threads", "commit")}
    result: dict[str, Any] = {"epochs_done": len(records), "finished": (folder / "summary.json").is_file()}
    if best is not None:
        result |= {"best_epoch": best["epoch"]} | {name: best.get(name) for name in _FIGURES}
    return {
        "configuration": {name: value for name, value in config.items() if name not in _OF_THE_PLACE},
        "model": resolved.get("model", {}),
        "labels": {"labels": resolved.get("labels")},
        "changes": {"changes": resolved.get("changes") or None},
        "versions": resolved.get("versions", {}),
        "machine": machine,
        "place": {name: value for name, value in config.items() if name in _OF_THE_PLACE}
        | {name: start.get(name) for name in ("at", "command")},
        "result": result,
    }


def _descriptions(folder: Path) -> dict[str, Mapping[str, Any]]:
    manifest = read_json(folder / "manifest.json")
    stats = read_json(folder / "stats.json") if (folder / "stats.json").is_file() else {}
    return {
        "configuration": {name: value for name, value in manifest.items() if name != "fingerprint"},
        "result": stats,
    }
