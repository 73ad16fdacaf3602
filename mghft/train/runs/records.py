"""The JSON of a run folder, as types; `files` reads it, `folder` and `checkpoints` write it."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from mghft.pipeline.processor import Processor


class EpochRecord(TypedDict):
    """A line of metrics.jsonl: means of the losses over the epoch's steps, validation, speed."""

    epoch: int
    step: int
    lr: float
    loss: float
    classification_loss: float
    alignment_loss: float
    alignment_loss_stage1: NotRequired[float]
    alignment_loss_stage2: NotRequired[float]
    alignment_loss_stage3: NotRequired[float]
    alignment_loss_stage4: NotRequired[float]
    validation_loss: float
    validation_accuracy: float
    validation_f1_macro: float
    validation_f1_weighted: float
    best: bool
    stickers_per_second: float
    seconds: float
    seconds_waiting: float
    seconds_validation: float
    memory_mb: float


class Summary(TypedDict):
    """summary.json of a finished run."""

    best_epoch: int | None
    best_accuracy: float
    best_loss: float
    epoch: int
    step: int


class SavedState(TypedDict):
    """state.json of a checkpoint, but for the digests of its files; `sums` are of the epoch under way."""

    epoch: int
    step_in_epoch: int
    step: int
    steps_per_epoch: int
    best_epoch: int | None
    best_accuracy: float
    best_loss: float
    sums: dict[str, float]


FieldChange = TypedDict("FieldChange", {"from": Any, "to": Any})


class Change(TypedDict):
    """Fields that a resumed run changed, as was allowed, and the checkpoint after which it did."""

    after: str | None
    fields: dict[str, FieldChange]


class Start(TypedDict):
    """One start of a run: when (UTC), the command line that did it, and what it ran on.

    `commit` is that of the checkout the code ran from, None for an installed copy; `device` a GPU's name or
    cpu, `threads` those of torch. Runs of before have no such three.
    """

    at: str
    command: str
    commit: NotRequired[str | None]
    device: NotRequired[str]
    threads: NotRequired[int]


class CorrectionsRecord(TypedDict):
    """Corrections of views that a training was given: the file, its SHA-256, and how many texts "
    "it changes."""

    path: str
    sha256: str
    texts: int


class ResolvedConfig(TypedDict):
    """config.json: what the run is, everything resolved; `processors` and `starts`, the last one last."""

    identity: dict[str, Any]
    config: dict[str, Any]
    model: dict[str, Any]
    labels: list[str]
    versions: dict[str, str]
    changes: list[Change]
    corrections: NotRequired[CorrectionsRecord]
    processors: NotRequired[list[Processor]]
    starts: NotRequired[list[Start]]
