"""What was tried: every pack of every try in a folder, with its rows, and its score where there is one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mghft.pipeline.runs.status import run_status
from mghft.pipeline.trials.trial import FILE, Trial, TrialPack, read_trial, trial_folders

SCORE_FILE = "score.json"


@dataclass(frozen=True)
class Entry:
    """One pack of one try; counts are None where its run did not begin, the score where none was made."""

    folder: Path
    manifest: Trial
    pack: TrialPack
    status: dict[str, Any] | None
    accuracy: float | None = None
    f1_macro: float | None = None
    interval: tuple[float, float] | None = None


def history(tries: Path) -> tuple[list[Entry], list[str]]:
    """Every pack of every try, oldest first.

    Args:
        tries: a folder of tries, or one try.

    Returns:
        Entries, and a sentence for everything that cannot be read.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no try.
    """
    folders = [tries] if (tries / FILE).is_file() else trial_folders(tries) if tries.is_dir() else []
    if not folders:
        raise FileNotFoundError(f"the folder {tries} holds no try: make one with `mghft prompts try`")
    entries, notes = [], []
    for folder in folders:
        try:
            manifest = read_trial(folder)
        except ValueError as error:
            notes.append(str(error))
            continue
        for pack in manifest.packs:
            run = folder / pack.folder
            status = None
            try:
                if run.is_dir():
                    status = run_status(run)
            except (ValueError, FileNotFoundError) as error:
                notes.append(str(error))
            score, slip = _score(run / SCORE_FILE)
            notes += slip
            entries.append(Entry(folder, manifest, pack, status, **score))
    return entries, notes


def _score(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Accuracy, F1 and interval of a run's score, nothing where there is none; and what is wrong with it."""
    if not path.is_file():
        return {}, []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["accuracy"] is None:
            return {}, []
        low, high = found["interval"]
        numbers = [float(one) for one in (found["accuracy"], found["f1_macro"], low, high)]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("a number is not finite")
    except (ValueError, KeyError, TypeError, OSError):
        return {}, [f"the score {path} cannot be read: make it again with `mghft prompts score`"]
    return {"accuracy": numbers[0], "f1_macro": numbers[1], "interval": (numbers[2], numbers[3])}, []
