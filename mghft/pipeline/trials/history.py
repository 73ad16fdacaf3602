"""The history of trials: every pack of every trial in a folder, its rows, its score if there is one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mghft.pipeline.runs.status import RunStatus, run_status
from mghft.pipeline.trials.trial import FILE, Trial, TrialPack, read_trial, trial_folders

SCORE_FILE = "score.json"


class Score(NamedTuple):
    """The score of a prompt: how well a label is told from its texts, with the accuracy's interval."""

    accuracy: float
    f1_macro: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """One pack of one trial; no status where its run did not begin, no score where none was made."""

    folder: Path
    manifest: Trial
    pack: TrialPack
    status: RunStatus | None
    score: Score | None


def read_history(trials: Path) -> tuple[list[Entry], list[str]]:
    """Read every pack of every trial, oldest first.

    Args:
        trials: a folder of trials, or one trial.

    Returns:
        Entries, and a sentence for everything that cannot be read.

    Raises:
        FileNotFoundError: the folder does not exist, or holds no trial.
    """
    folders = [trials] if (trials / FILE).is_file() else trial_folders(trials) if trials.is_dir() else []
    if not folders:
        raise FileNotFoundError(f"the folder {trials} holds no trial: make one with `mghft prompts try`")
    entries, notes = [], []
    for folder in folders:
        try:
            manifest = read_trial(folder)
        except ValueError as error:
            notes.append(str(error))
            continue
        for pack in manifest.packs:
            run = folder / pack.folder
            status = score = None
            try:
                if run.is_dir():
                    status = run_status(run)
            except (ValueError, FileNotFoundError) as error:
                notes.append(str(error))
            try:
                score = _read_score(run / SCORE_FILE)
            except ValueError as error:
                notes.append(str(error))
            entries.append(Entry(folder, manifest, pack, status, score))
    return entries, notes


def _read_score(path: Path) -> Score | None:
    """Read a run's score, None where there is none.

    Raises:
        ValueError: it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["accuracy"] is None:
            return None
        low, high = facts["interval"]
        score = Score(*(float(number) for number in (facts["accuracy"], facts["f1_macro"], low, high)))
        if not all(math.isfinite(number) for number in score):
            raise ValueError("a number is not finite")
    except (ValueError, KeyError, TypeError, OSError):
        raise ValueError(
            f"the score {path} cannot be read: make it again with `mghft prompts score`"
        ) from None
    return score
