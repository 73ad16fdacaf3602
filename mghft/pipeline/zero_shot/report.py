"""The judgement of a zero-shot run: zero_shot.json, zero_shot.md and predictions.parquet in its folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mghft.pipeline.corpora.sticker import Sticker, alike, split_order
from mghft.pipeline.files import write_json, write_text
from mghft.pipeline.predictions import FILE_NAME, prediction_table, write_predictions
from mghft.pipeline.runs.manifest import Manifest
from mghft.pipeline.runs.shards import iterate_shards
from mghft.pipeline.runs.status import RunStats
from mghft.pipeline.zero_shot.config import ZeroShotConfig
from mghft.pipeline.zero_shot.figures import Figures, figures, without_gaps
from mghft.pipeline.zero_shot.page import report_text
from mghft.pipeline.zero_shot.questions import (
    CHOICE,
    OFFICIAL,
    WITH,
    WITHOUT,
    Answers,
    asked_conditions,
    read_answers,
)
from mghft.pipeline.zero_shot.results import (
    Scored,
    System,
    answers_given,
    read_scores,
    score_systems,
    word_system,
)
from mghft.pipeline.zero_shot.wording import is_official

JSON, MARKDOWN = "zero_shot.json", "zero_shot.md"
_REFERENCE_SPLIT = "validation"
# Below it most answers would have begun otherwise than with a letter.
_LITTLE_MASS = 0.5


@dataclass(frozen=True)
class Report:
    """What a run came to.

    Attributes:
        folder: of the run, which holds the files.
        facts: what was asked, of whom, at what cost.
        splits: figures of every system, by split.
        notes: what a reader must know, one sentence each.
    """

    folder: Path
    facts: dict[str, Any]
    splits: dict[str, list[Figures]]
    notes: list[str]


@dataclass
class _Judged:
    """The parts of a report on their way."""

    splits: defaultdict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))
    tables: list[pa.Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    calibrated_on: int = 0


def write_report(
    config: ZeroShotConfig, manifest: Manifest, stickers: Sequence[Sticker], stats: RunStats
) -> Report | None:
    """Judge the answers of a run and write the report into its folder.

    Args:
        config: of the run.
        manifest: of the run.
        stickers: all that were chosen, of every worker.
        stats: of the run.

    Returns:
        The report; None where another worker has not answered all of its stickers yet.
    """
    folder = config.run.out
    found = _read_rows(folder)
    if any(sticker.id not in found for sticker in stickers):
        return None
    labels = tuple(manifest["prompt"]["labels"])
    judged = _Judged()
    for name, condition in _conditions(config, stickers):
        _judge(judged, name, condition, stickers, found, labels, config.transductive)
    judged.notes += _common_notes(labels, stickers, found)
    report = Report(
        folder,
        _facts(config, manifest, stickers, stats, judged.calibrated_on),
        dict(sorted(judged.splits.items(), key=lambda item: split_order(item[0]))),
        list(dict.fromkeys(judged.notes)),
    )
    write_predictions(folder / FILE_NAME, pa.concat_tables(judged.tables))
    write_text(folder / MARKDOWN, report_text(report.facts, report.splits, report.notes))
    # Last: whoever finds it finds the others.
    write_json(
        folder / JSON,
        {"facts": report.facts, "splits": report.splits, "notes": report.notes},
        allow_nan=False,
    )
    return report


def _read_rows(folder: Path) -> dict[str, dict[str, Answers]]:
    """Return the answers of every row by sticker and condition."""
    found = {}
    for _, table in iterate_shards(folder, ["sticker_id", "raw"]):
        for name, raw in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found[name] = read_answers(raw)
    return found


def _conditions(config: ZeroShotConfig, stickers: Sequence[Sticker]) -> Iterator[tuple[str, str]]:
    """Yield the model's name in tables, and the condition it is for."""
    name = config.name or Path(config.engine.model).name or config.engine.model
    asked = {condition for one in stickers for condition in asked_conditions(one.text, config.text)}
    if WITH in asked:
        yield name, WITH
    if config.text != "with" and any(sticker.text for sticker in stickers):
        yield f"{name} without text", WITHOUT
    elif WITH not in asked:
        yield name, WITHOUT


def _judge(
    judged: _Judged,
    name: str,
    condition: str,
    stickers: Sequence[Sticker],
    found: Mapping[str, Mapping[str, Answers]],
    labels: tuple[str, ...],
    transductive: bool,
) -> None:
    """Add figures and predictions of every split under one condition."""
    splits: defaultdict[str, list[Sticker]] = defaultdict(list)
    for sticker in stickers:
        splits[sticker.split].append(sticker)
    answers = {
        split: [answers_given(found[sticker.id], condition) for sticker in members]
        for split, members in splits.items()
    }
    scores = {split: read_scores(given, len(labels)) for split, given in answers.items()}
    reference = scores.get(_REFERENCE_SPLIT)
    judged.calibrated_on = max(judged.calibrated_on, 0 if reference is None else int(reference.told.sum()))
    for split, members in splits.items():
        own = split == _REFERENCE_SPLIT
        systems = [
            word_system(CHOICE, answers[split], labels),
            *score_systems(
                answers[split], scores[split], None if own else reference, transductive=own or transductive
            ),
            word_system(OFFICIAL, answers[split], labels),
        ]
        true = np.array([labels.index(sticker.label_name or "") for sticker in members], np.int64)
        with_text = sum(condition == WITH and bool(sticker.text) for sticker in members)
        for system in systems:
            in_all_orders = system.name not in (CHOICE, OFFICIAL)
            changes = scores[split].changes if in_all_orders else None
            title = f"{name}: {system.name}"
            judged.splits[split].append(
                figures(title, system, true, labels, changes=changes, with_text=with_text)
            )
            judged.tables.append(_predictions(title, system, members, true, labels))
        judged.notes += _score_notes(
            split, scores[split], calibrated=own or transductive or reference is not None
        )


def _predictions(
    name: str, system: System, stickers: Sequence[Sticker], true: np.ndarray, labels: Sequence[str]
) -> pa.Table:
    return prediction_table(
        system=name,
        seed=0,
        split=stickers[0].split,
        ids=[sticker.id for sticker in stickers],
        true=[labels[number] for number in true],
        probabilities=without_gaps(system, true),
        labels=labels,
        subsets=[sticker.subset for sticker in stickers],
        groups=alike(stickers),
    )


def _score_notes(split: str, scored: Scored, *, calibrated: bool) -> Iterator[str]:
    if not scored.told.any():
        yield "the engine tells no log-probability of a letter: score and calibrated are left out"
        return
    if not calibrated:
        yield (
            "no validation sticker was chosen, so the calibrated system is left out: choose them too "
            "(without --split), or calibrate on the judged stickers with --transductive"
        )
    if scored.mass < _LITTLE_MASS:
        yield (
            f"in {split} the letters have only {scored.mass:.2g} of the probability of the first token: the "
            "model does not answer by letter, and its scores say little"
        )
    if scored.unseen:
        yield (
            f"{scored.unseen:.1%} of the letters' log-probabilities in {split} were not among the likeliest "
            "that the server tells: they have the smallest value told, which is above their own"
        )


def _common_notes(
    labels: Sequence[str], stickers: Sequence[Sticker], found: Mapping[str, Mapping[str, Answers]]
) -> Iterator[str]:
    if not is_official(labels):
        yield "the official prompt names the labels of this corpus in place of the seven that it was made for"
    forms = {label.casefold() for label in labels}
    choices = [one.choice for conditions in found.values() for one in conditions.values() if one.choice]
    if loose := sum(choice.strip().casefold() not in forms for choice in choices):
        yield (
            f"{loose} of {len(choices)} choices are no bare label word, so the server did not force them: "
            "the first label word in them counts"
        )
    if unasked := sum(not found[sticker.id] for sticker in stickers):
        yield f"{unasked} of {len(stickers)} stickers have no readable image and count as wrong"


def _facts(
    config: ZeroShotConfig,
    manifest: Manifest,
    stickers: Sequence[Sticker],
    stats: RunStats,
    calibrated_on: int,
) -> dict[str, Any]:
    speed = stats["stickers_per_second"]
    rows = max(stats["rows"], 1)
    return {
        "corpus": manifest["corpus"]["card"],
        "selection": config.selection.words(),
        "stickers": len(stickers),
        "stickers_with_text": sum(bool(sticker.text) for sticker in stickers),
        "text_given": manifest["prompt"]["text"],
        "failed": stats["failed"],
        "failures": stats["failures"],
        "model": manifest["model"]["name"],
        "model_revision": manifest["model"]["revision"],
        "weights_sha256": manifest["model"]["weights_sha256"],
        "engine": " ".join(filter(None, (manifest["engine"]["name"], manifest["engine"]["version"]))),
        "prompt_sha256": manifest["prompt"]["sha256"],
        "calibrated_on": calibrated_on,
        "prompt_tokens_per_sticker": round(stats["prompt_tokens"] / rows, 1),
        "output_tokens_per_sticker": round(stats["output_tokens"] / rows, 1),
        "seconds_per_sticker": round(1 / speed, 4) if speed else None,
    }
