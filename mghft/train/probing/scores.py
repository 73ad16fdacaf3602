"""Scores of prompts as they are kept: one record per run, field by field what its score.json holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mghft.train.evaluation.bootstrap import Difference
from mghft.train.probing.text_statistics import TextStatistics

# Name of the views side by side, as MGHFT gets them, among the views.
ALL_VIEWS = "all"
FORMAT = 1


@dataclass(frozen=True)
class ProbeMetrics:
    """Accuracy and macro F1 of one method on one view, with 95 % intervals."""

    accuracy: float
    accuracy_interval: tuple[float, float]
    f1_macro: float
    f1_macro_interval: tuple[float, float]


@dataclass(frozen=True)
class Majority:
    """The most frequent label, and the accuracy of always guessing it."""

    label: str
    accuracy: float


@dataclass(frozen=True)
class LabelSummary:
    """Labels of the stickers that are scored, the same for all runs.

    Attributes:
        stickers, labelled: how many there are, and how many have a label.
        labels: names.
        groups: how many groups of stickers stay in one fold; None without labels, as the next two.
        together: the rule of grouping that was used.
    """

    stickers: int
    labelled: int
    labels: list[str]
    groups: int | None = None
    together: str | None = None
    majority: Majority | None = None


@dataclass(frozen=True)
class Origin:
    """Sources of a score: the run's prompt, model and corpus, and the settings of the scoring."""

    run: str
    prompt: str
    prompt_sha256: str | None
    language: str
    model: str
    corpus: str
    fingerprint: str
    encoder: str
    encoder_fingerprint: str
    pooling: str
    seed: int
    folds: int
    repeats: int
    neighbours_k: int
    splits: list[str]


@dataclass(frozen=True)
class PromptScore:
    """Score of one run.

    Attributes:
        beside: names of the runs it was scored with, on the stickers that all of them have.
        probe, neighbours: metrics by view, the views together as "all"; None where labels do not suffice.
    """

    origin: Origin
    beside: list[str]
    labels: LabelSummary
    probe: dict[str, ProbeMetrics] | None
    neighbours: dict[str, ProbeMetrics] | None
    counts: TextStatistics

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.origin.run

    @property
    def whole(self) -> ProbeMetrics | None:
        """Metrics by which prompts are compared: the linear probe on all views."""
        return None if self.probe is None else self.probe[ALL_VIEWS]

    def to_json(self) -> dict[str, Any]:
        """Return the content of score.json; what does not apply is null or left out."""
        whole = self.whole
        return {
            "format": FORMAT,
            **asdict(self.origin),
            # Read by a list of trials, which knows nothing of views and methods.
            "accuracy": None if whole is None else whole.accuracy,
            "f1_macro": None if whole is None else whole.f1_macro,
            "interval": None if whole is None else whole.accuracy_interval,
            "beside": self.beside,
            **{name: value for name, value in asdict(self.labels).items() if value is not None},
            **({} if whole is None else asdict(whole)),
            "probe": _by_view(self.probe),
            "neighbours": _by_view(self.neighbours),
            "counts": asdict(self.counts),
        }


@dataclass(frozen=True)
class Scores:
    """Scores of some prompts on the same stickers.

    Attributes:
        runs: a score per run.
        differences: of the runs' accuracies (linear probe, all views), every pair.
        notes: sentences on what a reader must know.
    """

    runs: list[PromptScore]
    differences: list[Difference]
    notes: list[str]


def _by_view(metrics: dict[str, ProbeMetrics] | None) -> dict[str, Any] | None:
    return None if metrics is None else {view: asdict(row) for view, row in metrics.items()}
